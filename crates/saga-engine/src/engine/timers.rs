//! Alarms of all sagas in one heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ids::SagaId;
use saga_core::Millis;

use super::live::Live;

/// Alarms, earliest first. A saga has one valid entry at most, the one in its `wake_at`; later ones that were replaced
/// stay until their time and are harmless.
#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Millis, SagaId)>>,
}

impl Timers {
    /// Makes sure that the saga is looked at by `at`.
    pub(super) fn set(&mut self, live: &mut Live, at: Millis) {
        if live.wake_at.is_none_or(|set| at < set) {
            live.wake_at = Some(at);
            self.heap.push(Reverse((at, live.id())));
        }
    }

    pub(super) fn next(&self) -> Option<Millis> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    pub(super) fn pop(&mut self, now: Millis) -> Option<SagaId> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, saga))| saga)
    }
}
