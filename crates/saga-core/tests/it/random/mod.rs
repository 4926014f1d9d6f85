//! Random plans under random weather.

mod moves;
mod participants;
mod people;
mod plans;
mod world;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use saga_core::Phase;

use moves::any_moves;
use plans::any_scene;
use world::World;

proptest! {
    // `PROPTEST_CASES=20000` for a long run. A failure prints its input; it becomes a scenario, not a file of seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The world checks by itself that every state is sound, that no live call is superseded, and that effects are
    /// undone in order.
    #[test]
    fn whatever_happens_a_saga_ends_and_leaves_all_or_nothing(
        scene in any_scene(),
        moves in any_moves(120),
    ) {
        let mut world = World::new(scene);
        for one in moves {
            world.make(one);
        }
        world.finish();
        match world.state.phase() {
            Phase::Completed => world.participants.expect_all_done(&world.state),
            Phase::Compensated => world.participants.expect_all_undone(&world.state),
            // Somebody wanted it as it is.
            Phase::Resolved => world.participants.expect_nothing_done_twice(),
            Phase::Running | Phase::Compensating => unreachable!("it has ended"),
        }
    }

    #[test]
    fn a_crash_after_any_transition_can_be_recovered_from(
        scene in any_scene(),
        moves in any_moves(60),
    ) {
        let mut world = World::new(scene);
        for one in moves {
            world.make(one);
        }
        world.recover_from_every_prefix();
    }
}

/// Without this the properties above could hold of stories in which nothing happens.
#[test]
fn the_weather_brings_everything() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let scenes = (any_scene(), any_moves(120));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..600 {
        let (scene, moves) = scenes.new_tree(&mut runner).unwrap().current();
        let mut world = World::new(scene);
        for one in moves {
            world.make(one);
        }
        world.finish();
        seen.append(&mut world.seen);
    }
    for wanted in WANTED {
        assert!(seen.contains(*wanted), "{wanted} is not among {seen:#?}");
    }
}

/// What the weather has to bring: an input with what came of it, an event in its phase, or a situation.
const WANTED: &[&str] = &[
    "COMPENSATED acknowledge",
    "COMPENSATING late_success",
    "COMPENSATING paused ended",
    "COMPENSATING replied skipped",
    "COMPENSATING resolve",
    "COMPENSATING resolve_succeeded",
    "COMPENSATING retry_now",
    "COMPENSATING token no",
    "COMPENSATING token yes",
    "RUNNING compensate",
    "RUNNING paused ended",
    "RUNNING paused unwinding",
    "RUNNING replied not seen",
    "RUNNING resolve",
    "RUNNING resolve_failed",
    "RUNNING resolve_succeeded",
    "RUNNING token no",
    "RUNNING token yes",
    "acknowledge Ended",
    "pause NotAllowed",
    "replied succeeded Stale",
    "resolve_failed NotAllowed",
    "resolve_succeeded NotAllowed",
    "retry_now NotAllowed",
    "skip NotAllowed",
    "skipped Compensatable Action",
    "skipped Compensatable Compensation",
    "skipped Pivot Action",
    "skipped Retriable Action",
    "skipped epilogue Action",
    "token no Answered",
    "token no GivenUp",
    "token yes Answered",
    "token yes NotOpen",
    "watched",
];
