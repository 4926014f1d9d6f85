//! What must hold in every state.

use saga_core::invariants::{self, effects};
use saga_core::{Op, OpState, Plan};

use crate::network::Body;
use crate::world::World;

/// A named predicate over the world.
#[derive(Debug, Clone, Copy)]
pub struct Predicate {
    /// Name, a claim.
    pub name: &'static str,
    /// Tells whether it holds.
    pub holds: fn(&Plan, &World) -> bool,
}

/// What holds besides [`invariants::ALL`], [`invariants::AT_REST`] and [`effects::PROMISES`].
pub const PREDICATES: &[Predicate] = &[
    Predicate {
        name: "only_the_owner_writes",
        holds: |_, world| !world.journal.torn,
    },
    Predicate {
        name: "a_call_follows_from_the_journal",
        holds: calls_are_journaled,
    },
    Predicate {
        name: "the_owner_knows_what_is_durable",
        holds: owner_is_up_to_date,
    },
    Predicate {
        name: "no_compensation_flies_beside_an_open_action",
        holds: drained,
    },
];

/// Name of the property that an end can be reached from every state once nothing goes wrong any more.
pub const END: &str = "an_end_can_always_be_reached";

/// Returns the name of the first predicate that is broken, if any.
pub(crate) fn broken(plan: &Plan, world: &World) -> Option<&'static str> {
    let journal = &world.journal.state;
    PREDICATES
        .iter()
        .find(|predicate| !(predicate.holds)(plan, world))
        .map(|predicate| predicate.name)
        .or_else(|| invariants::broken_at_rest(plan, journal))
        .or_else(|| effects::broken_promise(plan, journal.phase(), &world.effects()))
}

/// Whatever is on its way, the journal knows of the attempt.
fn calls_are_journaled(_: &Plan, world: &World) -> bool {
    world
        .network
        .iter()
        .filter(|message| matches!(message.body, Body::Call { .. }))
        .all(|message| match world.journal.state.op(message.key) {
            None | Some(OpState::NotStarted) => false,
            Some(op) => op.open().is_none_or(|open| message.attempt <= open.attempt),
        })
}

/// Between decisions the owner's state is the journal's, but for what only a restart forgets.
fn owner_is_up_to_date(_: &Plan, world: &World) -> bool {
    let (mut known, mut durable) = (world.owner.state.clone(), world.journal.state.clone());
    known.recovered();
    durable.recovered();
    known == durable
}

/// A success known already may come again while its compensation is on its way; anything else is waited for (rule 3).
fn drained(_: &Plan, world: &World) -> bool {
    let flights = &world.owner.in_flight;
    let undoing = flights.iter().filter(|flight| flight.key.op == Op::Compensation);
    undoing.map(|flight| flight.key.step).all(|step| {
        let action = flights
            .iter()
            .find(|flight| flight.key.step == step && flight.key.op == Op::Action);
        action.is_none_or(|action| world.owner.state.op(action.key).is_some_and(OpState::succeeded))
    })
}
