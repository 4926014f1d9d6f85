//! What is durable.

use saga_core::{Plan, Recorded, State};

/// What becomes of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Disk {
    /// It is durable, and the writer knows.
    Written,
    /// It is lost, and the writer knows nothing.
    Lost,
    /// It is durable, and the writer knows nothing.
    WrittenUnheard,
}

/// The journal of one saga. Events are kept folded into the state that their replay gives: nothing else is ever read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Journal {
    pub(crate) state: State,
    pub(crate) epoch: u8,
    /// Somebody has written who was not the owner.
    pub(crate) torn: bool,
}

impl Journal {
    pub(crate) fn append(&mut self, plan: &Plan, epoch: u8, events: &[Recorded]) {
        self.torn |= epoch != self.epoch;
        for recorded in events {
            self.state.apply(plan, recorded);
        }
    }

    /// Replays the saga for a process that knows nothing of the calls before.
    pub(crate) fn load(&self) -> State {
        let mut state = self.state.clone();
        state.recovered();
        state
    }
}
