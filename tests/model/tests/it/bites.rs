//! Without any one of the rules something is broken.

use model::{Mutation, Scene, shortest};
use rstest::rstest;

use Mutation::*;

#[rstest]
#[case::r1_unmarked(
    UnmarkedRefusalIsBelieved,
    Scene::linear(2),
    "compensated_means_no_effect_is_left"
)]
#[case::r1_unknown(
    UnknownCountsAsRefused,
    Scene::linear(1),
    "compensated_means_no_effect_is_left"
)]
#[case::r2_commit(NothingCommits, Scene::pivot(0), "the_commit_point_is_not_overlooked")]
#[case::r2_cancel(CancelIsAlwaysObeyed, Scene::pivot(0), "an_unwinding_saga_has_no_live_pivot")]
#[case::r2_deadline(
    DeadlineIsAlwaysObeyed,
    Scene::pivot(0),
    "an_unwinding_saga_has_no_live_pivot"
)]
#[case::r2_pivot(PivotIsGivenUp, Scene::pivot(1), "an_unwinding_saga_has_no_live_pivot")]
#[case::r3_drain(
    NothingIsDrained,
    Scene::linear(0),
    "no_compensation_flies_beside_an_open_action"
)]
#[case::r3_order(
    CompensationsInAnyOrder,
    Scene::linear(1),
    "a_compensation_starts_after_all_below_is_settled"
)]
#[case::r3_unknown(
    UnknownIsNotCompensated,
    Scene::linear(1),
    "compensated_means_no_effect_is_left"
)]
#[case::r4_key(KeyPerAttempt, Scene::linear(1), "no_effect_is_doubled")]
#[case::r4_attempt(AttemptIsNotJournaled, Scene::linear(1), "the_owner_knows_what_is_durable")]
#[case::r5_null(
    NullCompensationLeavesNoRow,
    Scene::linear(1),
    "compensated_means_no_effect_is_left"
)]
#[case::r5_late(LateActionRuns, Scene::linear(1), "compensated_means_no_effect_is_left")]
#[case::r5_action(RepeatedActionRunsAgain, Scene::linear(1), "no_effect_is_doubled")]
#[case::r5_compensation(RepeatedCompensationRunsAgain, Scene::linear(1), "no_effect_is_doubled")]
#[case::r5_pending(
    PendingActionIsNotSuperseded,
    Scene::asynchronous(0),
    "compensated_means_no_effect_is_left"
)]
#[case::r5_refusal(RefusalIsNotStored, Scene::linear(1), "compensated_means_no_effect_is_left")]
#[case::r6_worker(
    WorkerIsNotGuarded,
    Scene::asynchronous(0),
    "compensated_means_no_effect_is_left"
)]
#[case::r7_call(CallBeforeJournal, Scene::linear(1), "a_call_follows_from_the_journal")]
#[case::r8_fence(NothingIsFenced, Scene::linear(1), "only_the_owner_writes")]
#[case::r8_unknown(UnknownCommitIsBelieved, Scene::linear(1), "the_owner_knows_what_is_durable")]
#[case::r8_takeover(TakeoverLoadsFirst, Scene::linear(1), "the_owner_knows_what_is_durable")]
#[case::r9_compensation(
    CompensationsAreGivenUp,
    Scene::linear(2),
    "compensated_means_no_effect_is_left"
)]
#[case::r9_retries(RetriesWithoutEnd, Scene::linear(2), "a_limited_action_keeps_to_its_retries")]
fn without_a_rule_a_predicate_is_broken(
    #[case] removed: Mutation,
    #[case] scene: Scene,
    #[case] predicate: &str,
) {
    let checked = shortest(scene, removed);
    let finding = checked.finding.unwrap();
    assert_eq!(finding.predicate, predicate, "{finding}");
    println!(
        "{removed:?}: {predicate} after {} actions, {} states",
        finding.story.len(),
        checked.states
    );
}
