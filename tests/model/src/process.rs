//! A process that drives the saga, or thinks that it does.

use saga_core::{Op, OpKey, State};

use crate::network::Line;

/// A call in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Flight {
    pub(crate) key: OpKey,
    pub(crate) attempt: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Process {
    pub(crate) line: Line,
    pub(crate) state: State,
    pub(crate) in_flight: Vec<Flight>,
    /// The operation that a participant called superseded, which made it load the saga again.
    pub(crate) superseded: Option<OpKey>,
}

impl Process {
    pub(crate) fn new(epoch: u8, state: State) -> Self {
        Self {
            line: Line { epoch, life: 0 },
            state,
            in_flight: Vec::new(),
            superseded: None,
        }
    }

    pub(crate) fn reload(&mut self, state: State) {
        self.line.life += 1;
        self.state = state;
        self.in_flight.clear();
        self.superseded = None;
    }

    pub(crate) fn flies(&self, key: OpKey) -> bool {
        self.in_flight.iter().any(|flight| flight.key == key)
    }

    pub(crate) fn land(&mut self, key: OpKey, attempt: u32) {
        self.in_flight
            .retain(|flight| flight.key != key || flight.attempt != attempt);
    }

    pub(crate) fn actions_in_flight(&self) -> Vec<OpKey> {
        let keys = self.in_flight.iter().map(|flight| flight.key);
        keys.filter(|key| key.op == Op::Action).collect()
    }
}
