//! Sagas that wait for long leave memory: passivation.
//!
//! A saga that only waits is in the journal as a whole, but for when its pending operations want to be asked again. That, and
//! its alarm, stay here; whatever concerns the saga brings it back, loaded like one whose last write is unknown. A saga stays
//! in memory if it is not the same after a load: one that somebody waits for, or with an operation of which a load knows less.

use std::collections::HashMap;

use ids::SagaId;
use saga_core::{Millis, OpKey};

use super::live::{Live, Told};
use super::metrics::Counted;
use super::recovery::Reloading;
use super::{Engine, millis};
use crate::journal::Journal;
use crate::participants::{Clock, Participants};

/// A saga that has nothing to do for so long is made small, in milliseconds.
const REST_MS: u64 = 5_000;

/// Sagas that are not in memory, and what is left of them.
#[derive(Debug, Default)]
pub(super) struct Passive {
    sagas: HashMap<SagaId, Left>,
}

/// What is left of a saga.
#[derive(Debug)]
struct Left {
    /// Its valid entry on the heap of alarms.
    wake_at: Option<Millis>,
    asks: Box<[(OpKey, Millis)]>,
    counted: Option<Counted>,
    #[cfg(debug_assertions)]
    progress: super::live::Progress,
}

impl Passive {
    pub(super) fn len(&self) -> usize {
        self.sagas.len()
    }

    pub(super) fn contains(&self, saga: SagaId) -> bool {
        self.sagas.contains_key(&saga)
    }

    /// Tells whether this entry of the heap is the saga's valid one.
    fn wakes(&self, saga: SagaId, at: Millis) -> bool {
        self.sagas.get(&saga).is_some_and(|left| left.wake_at == Some(at))
    }

    /// Returns the valid entries of the heap of alarms.
    pub(super) fn alarms(&self) -> impl Iterator<Item = (Millis, SagaId)> + '_ {
        self.sagas
            .iter()
            .filter_map(|(saga, left)| Some((left.wake_at?, *saga)))
    }
}

impl<J: Journal, P: Participants, C: Clock> Engine<J, P, C> {
    /// Lets a saga go that has nothing to do before `until`, if that is long and it may; otherwise makes it small.
    pub(super) fn rest(&mut self, saga: SagaId, until: Option<Millis>) {
        let now = self.clock.now();
        let lasts = |ms: u64| until.is_none_or(|until| until.since(now) >= ms);
        let Some(live) = self.live.get_mut(&saga).filter(|live| live.only_waits()) else {
            return;
        };
        let passive_after_ms = millis(self.config.passive_after);
        if lasts(passive_after_ms) && !self.traffic.stopping {
            if live.is_in_journal() {
                return self.passivate(saga, until);
            }
            if live.may_be_free_later() {
                self.timers.set(live, now.plus(passive_after_ms));
            }
        }
        if lasts(REST_MS) {
            live.shrink();
        }
    }

    fn passivate(&mut self, saga: SagaId, until: Option<Millis>) {
        let Some(mut live) = self.remove(saga) else { return };
        // Earlier entries on the heap were for what is over.
        if let Some(at) = until.filter(|at| live.wake_at != Some(*at)) {
            live.wake_at = None;
            self.timers.set(&mut live, at);
        }
        let left = Left {
            wake_at: until,
            #[cfg(debug_assertions)]
            progress: live.progress(),
            counted: live.counted,
            asks: live.into_asks().into_boxed_slice(),
        };
        self.passive.sagas.insert(saga, left);
    }

    /// Queues a saga that has left memory to be loaded; [`Engine::reload_more`] begins with it. Tells whether it had.
    pub(super) fn wake(&mut self, saga: SagaId) -> bool {
        let Some(left) = self.passive.sagas.remove(&saga) else {
            return false;
        };
        let reloading = Reloading {
            counted: left.counted,
            woken: true,
            asks: left.asks.into_vec(),
            #[cfg(debug_assertions)]
            progress: Some(left.progress),
            ..Reloading::default()
        };
        self.recovery.reload(saga, reloading);
        true
    }

    /// Wakes the saga if this alarm is its own. Tells whether it was.
    pub(super) fn wake_by_alarm(&mut self, saga: SagaId, at: Millis) -> bool {
        self.passive.wakes(saga, at) && self.wake(saga)
    }

    /// Tells a saga something that has left memory, or is on its way back; gives it back if there is no such saga.
    pub(super) fn tell_passive(&mut self, saga: SagaId, told: Told) -> Option<Told> {
        let woken = self.wake(saga);
        let refused = self.recovery.tell_woken(saga, told);
        if woken {
            self.reload_more(0);
        }
        refused
    }
}

impl Live {
    /// Tells whether a load brings back all there is of a saga that only waits, but for when it wants to ask.
    fn is_in_journal(&self) -> bool {
        let nobody_waits = self.waiters.is_empty() && self.on_durable.is_empty();
        let known = self.superseded.is_none() && self.claims() == 0 && self.counted.is_some();
        nobody_waits && known && !self.hinted && self.state.is_same_after_load()
    }

    /// Tells whether what keeps it in memory passes without anybody telling.
    fn may_be_free_later(&self) -> bool {
        !self.waiters.is_empty() || self.claims() > 0
    }
}
