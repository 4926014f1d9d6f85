//! Random plans under random weather.

mod participants;
mod plans;
mod world;

use proptest::prelude::*;
use saga_core::Phase;

use plans::any_plan;
use world::{World, any_moves};

proptest! {
    // `PROPTEST_CASES=20000` for a long run. A failure prints its input; it becomes a scenario, not a file of seeds.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The world checks by itself that every state is sound, that no live call is superseded, and that effects are
    /// undone in order.
    #[test]
    fn whatever_happens_a_saga_ends_and_leaves_all_or_nothing(
        (plan, start) in any_plan(),
        moves in any_moves(120),
    ) {
        let mut world = World::new(plan, start);
        for one in moves {
            world.make(one);
        }
        world.finish();
        match world.state.phase() {
            Phase::Completed => world.participants.expect_all_done(),
            Phase::Compensated => world.participants.expect_all_undone(),
            Phase::Running | Phase::Compensating | Phase::Resolved => unreachable!("it has ended"),
        }
    }

    #[test]
    fn a_crash_after_any_transition_can_be_recovered_from(
        (plan, start) in any_plan(),
        moves in any_moves(60),
    ) {
        let mut world = World::new(plan, start);
        for one in moves {
            world.make(one);
        }
        world.recover_from_every_prefix();
    }
}
