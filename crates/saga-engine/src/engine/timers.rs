//! Alarms of all sagas in one heap.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

use ids::SagaId;
use saga_core::Millis;

use super::live::Live;
use super::passive::Passive;

/// Stale entries that are not worth a rebuild.
const SLACK: usize = 1_024;

/// Alarms, earliest first. A saga has one valid entry, the one that its `wake_at` names; others are stale and dropped.
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

    pub(super) fn pop(&mut self, now: Millis) -> Option<(Millis, SagaId)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// Drops stale entries once they outnumber the valid ones: those of ended sagas would stay until their deadline.
    pub(super) fn tidy(&mut self, live: &HashMap<SagaId, Box<Live>>, passive: &Passive) {
        if self.heap.len() > SLACK + 4 * (live.len() + passive.len()) {
            let of_live = live.values().filter_map(|live| Some((live.wake_at?, live.id())));
            self.heap = of_live.chain(passive.alarms()).map(Reverse).collect();
        }
    }
}
