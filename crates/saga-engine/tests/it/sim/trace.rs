//! What happened in one story, for people to read.

use std::sync::{Arc, Mutex};

use saga_engine::Clock as _;

use crate::world::VirtualClock;

/// Lines with the instant in front, in milliseconds from the beginning.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    time: VirtualClock,
    zero: i64,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Trace {
    pub(super) fn new(time: VirtualClock) -> Self {
        Self {
            time,
            zero: time.now().0,
            lines: Arc::default(),
        }
    }

    pub(super) fn note(&self, what: &str) {
        let at = self.time.now().0 - self.zero;
        self.lines.lock().unwrap().push(format!("{at:>7} {what}"));
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}
