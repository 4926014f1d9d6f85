//! Random plans under random weather.

mod participants;
mod people;
mod plans;
mod world;

use proptest::prelude::*;
use saga_core::Phase;

use plans::any_scene;
use world::{World, any_moves};

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
