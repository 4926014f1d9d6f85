//! What happens to a saga: the weather, and people.

use proptest::prelude::*;
use saga_core::FailureClass;

use super::participants::Mood;

/// Something that happens. Numbers choose among what is there at the moment.
#[derive(Debug, Clone, Copy)]
pub(super) enum Move {
    /// A call goes out.
    Send(u8),
    /// A call is answered.
    Answer(u8, Mood),
    /// A call arrives, and its answer is lost.
    LoseAnswer(u8, Mood),
    /// A call seems lost, and may still arrive.
    Lose(u8, FailureClass),
    /// A call never left.
    Bounce(u8),
    /// A call that nobody waits for any more arrives.
    Arrive(u8, Mood),
    /// Work that was begun goes on.
    Work(u8),
    /// Somebody wants the saga undone.
    Cancel,
    /// Time passes.
    Wait(u32),
    /// Time passes until there is something to do.
    Ring,
    /// The process dies; the clock of the next one differs by so much.
    Crash(i16),
    /// An answer comes again, or comes for another operation.
    Stray(u8, u8, bool),
    /// Somebody answers by token.
    Complete(u8, bool, Mood),
    /// An operator does something that is allowed.
    Operate(u8, bool),
    /// An operator tries something.
    Try(u8, u8, bool),
    /// An operator ends the saga as it is.
    Resolve,
}

/// What happens in one run: mostly sunshine, or mostly calls that are lost and people who say no. Now and then an
/// operator ends it.
pub(super) fn any_moves(up_to: usize) -> impl Strategy<Value = Vec<Move>> {
    let weather = prop_oneof![
        prop::collection::vec(any_move(8, 1), 0..up_to),
        prop::collection::vec(any_move(3, 3), 0..up_to),
    ];
    (weather, prop::bool::weighted(0.05)).prop_map(|(mut moves, resolve)| {
        moves.extend(resolve.then_some(Move::Resolve));
        moves
    })
}

fn any_mood(yes: u32, no: u32) -> impl Strategy<Value = Mood> {
    prop_oneof![
        yes => Just(Mood::Yes),
        no => Just(Mood::No),
        no => Just(Mood::EarlyNo),
        2 => Just(Mood::Pending),
        1 => Just(Mood::Error),
        1 => Just(Mood::NotLetIn),
    ]
}

fn any_move(yes: u32, no: u32) -> impl Strategy<Value = Move> {
    let class = prop_oneof![Just(FailureClass::Unknown), Just(FailureClass::Misconfigured)];
    prop_oneof![
        12 => any::<u8>().prop_map(Move::Send),
        12 => (any::<u8>(), any_mood(yes, no)).prop_map(|(i, mood)| Move::Answer(i, mood)),
        3 => (any::<u8>(), any_mood(yes, no)).prop_map(|(i, mood)| Move::LoseAnswer(i, mood)),
        3 * no => (any::<u8>(), class).prop_map(|(i, class)| Move::Lose(i, class)),
        2 => any::<u8>().prop_map(Move::Bounce),
        2 => (any::<u8>(), any_mood(yes, no)).prop_map(|(i, mood)| Move::Arrive(i, mood)),
        2 => any::<u8>().prop_map(Move::Work),
        1 => Just(Move::Cancel),
        1 => (0_u32..20_000).prop_map(Move::Wait),
        10 => Just(Move::Ring),
        1 => (-500_i16..500).prop_map(Move::Crash),
        1 => (any::<u8>(), any::<u8>(), any::<bool>()).prop_map(|(i, n, op)| Move::Stray(i, n, op)),
        2 => (any::<u8>(), prop::bool::weighted(0.8), any_mood(yes, no))
            .prop_map(|(i, action, mood)| Move::Complete(i, action, mood)),
        1 => (any::<u8>(), any::<bool>()).prop_map(|(i, by_hand)| Move::Operate(i, by_hand)),
        1 => (any::<u8>(), any::<u8>(), any::<bool>()).prop_map(|(i, n, op)| Move::Try(i, n, op)),
    ]
}
