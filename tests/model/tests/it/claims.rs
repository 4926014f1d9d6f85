//! Effects outside the database: claimed, asked for, undone.

use model::{Claims, ClaimsRule};
use rstest::rstest;
use stateright::{Checker, HasDiscoveries, Model};

#[test]
fn no_order_of_workers_claims_and_requests_doubles_an_effect_or_leaves_one() {
    let model = Claims {
        removed: None,
        workers: 3,
        claims: 3,
    };
    let checker = model
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AllFailures)
        .spawn_dfs()
        .join();
    checker.assert_properties();
    println!("{} states", checker.unique_state_count());
    assert!(checker.unique_state_count() > 5_000);
}

#[rstest]
#[case::unclaimed(ClaimsRule::CallsAreNotClaimed, "no_effect_is_doubled")]
#[case::grace(ClaimsRule::GraceIsIgnored, "a_settled_compensation_leaves_no_effect")]
#[case::no_wait(
    ClaimsRule::CompensationDoesNotWait,
    "a_settled_compensation_leaves_no_effect"
)]
#[case::late(ClaimsRule::CallsStartLate, "no_effect_is_doubled")]
#[case::not_asked(ClaimsRule::NobodyIsAsked, "no_effect_is_doubled")]
fn without_a_rule_about_claims_a_predicate_is_broken(#[case] removed: ClaimsRule, #[case] predicate: &str) {
    let model = Claims {
        removed: Some(removed),
        workers: 2,
        claims: 2,
    };
    let checker = model
        .checker()
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let path = checker.discovery("nothing is broken").expect("it bites");
    let broken = path.last_state().broken();
    println!("{removed:?}: {broken:?} after {:?}", path.into_actions());
    assert_eq!(broken, Some(predicate));
}
