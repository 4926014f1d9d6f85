//! Sagas that may be what kills the process (rule 11).
//!
//! A load is counted before the saga is driven and forgotten when it makes progress or the process lives on. A saga that
//! was loaded too often is a suspect: suspects are driven one at a time, each until it has been handled once, and parked
//! if the process keeps dying in just that moment. The moment is short on purpose: a process may be killed for any
//! reason, at any time, again and again, and no saga is to be parked for that.

use std::sync::Arc;

use ids::SagaId;

use super::metrics::Series;
use super::recovery::{Purpose, RETRY_MS};
use super::{Done, Engine, refuse};
use crate::handle::RequestError;
use crate::journal::{Journal, JournalError, Loaded};
use crate::participants::{Clock, Participants};

/// Loads without progress after which a saga is a suspect.
pub(super) const SUSPECT_CLAIMS: u32 = 3;
/// Loads without progress after which it is parked: the process died five times in the moment it was handled.
const PARK_CLAIMS: u32 = 8;
/// Longest time for which a suspect keeps the next one waiting, in milliseconds.
const SUSPECT_WATCH_MS: u64 = 250;
/// How long loaded sagas must be driven before their loads are forgotten, in milliseconds.
const SURVIVAL_MS: u64 = 10_000;

impl<J: Journal, P: Participants, C: Clock> Engine<J, P, C> {
    /// Queues a saga that was loaded often without progress, or parks it.
    pub(super) fn suspect(&mut self, loaded: &Loaded) {
        let saga = loaded.identity.id;
        if loaded.claims >= PARK_CLAIMS {
            let why = format!(
                "the process died {} times while this saga was driven",
                loaded.claims
            );
            return self.park(saga, why);
        }
        tracing::warn!(saga_id = %saga, claims = loaded.claims, "loaded often without progress; driven alone");
        self.recovery.claimed.insert(saga);
        self.recovery.suspects.push_back(saga);
    }

    /// Loads the next suspect if no other is being watched.
    pub(super) fn next_suspect(&mut self) {
        if self.recovery.suspect.is_some() {
            return;
        }
        if let Some(saga) = self.recovery.suspects.pop_front() {
            self.recovery.suspect = Some(saga);
            self.load(Purpose::Suspect { saga }, 0);
        }
    }

    /// Watches a suspect that has been loaded, and is driven if it was there to be driven.
    pub(super) fn watch_suspect(&mut self, saga: SagaId) {
        self.recovery.round += 1;
        let round = self.recovery.round;
        let at = self.clock.now().plus(SUSPECT_WATCH_MS);
        let clock = Arc::clone(&self.clock);
        self.work.push(Box::pin(async move {
            clock.sleep_until(at).await;
            Done::Watched { round }
        }));
        self.handled(saga);
    }

    /// Notes that a saga has been looked at, or answered, and the process lives: a suspect with nothing under way has
    /// been handled.
    pub(super) fn handled(&mut self, saga: SagaId) {
        if self.recovery.suspect != Some(saga) {
            return;
        }
        match self.live.get(&saga) {
            Some(live)
                if live.writing || live.held || !live.waiting.is_empty() || !live.in_flight.is_empty() => {}
            Some(_) | None => self.clear_suspect(),
        }
    }

    /// Notes that a saga made progress, which the journal has noted, too.
    pub(super) fn progressed(&mut self, saga: SagaId) {
        if self.recovery.suspect == Some(saga) {
            self.recovery.suspect = None;
            self.next_suspect();
        }
    }

    pub(super) fn watched(&mut self, round: u64) {
        if self.recovery.round == round {
            self.clear_suspect();
        }
    }

    fn clear_suspect(&mut self) {
        if let Some(saga) = self.recovery.suspect.take() {
            self.forgive(vec![saga]);
        }
        self.next_suspect();
    }

    /// Looks again in a while: sagas that are still driven then have not killed the process.
    pub(super) fn watch_survival(&mut self) {
        if self.recovery.watching {
            return;
        }
        self.recovery.watching = true;
        let clock = Arc::clone(&self.clock);
        let (at, generation) = (self.clock.now().plus(SURVIVAL_MS), self.generation);
        self.work.push(Box::pin(async move {
            clock.sleep_until(at).await;
            Done::Survived { generation }
        }));
    }

    pub(super) fn survived(&mut self, generation: u64) {
        self.recovery.watching = false;
        self.forgive_all(generation);
        if self.live.values().any(|live| live.claims() > 0) {
            self.watch_survival();
        }
    }

    /// Forgets the loads of every saga that has been driven since this generation or an earlier one.
    pub(super) fn forgive_all(&mut self, generation: u64) {
        let loaded = self.live.values().filter(|live| live.claims() > 0);
        let sagas = loaded.filter(|live| live.generation <= generation);
        self.forgive(sagas.map(|live| live.id()).collect());
    }

    fn forgive(&mut self, sagas: Vec<SagaId>) {
        let mut forgiven = Vec::new();
        for saga in sagas {
            if let Some(live) = self.live.get_mut(&saga).filter(|live| live.claims() > 0) {
                live.forget_claims();
                forgiven.push(saga);
            }
        }
        if forgiven.is_empty() {
            return;
        }
        self.notes += 1;
        let journal = Arc::clone(&self.journal);
        self.work.push(Box::pin(async move {
            Done::Forgiven {
                result: journal.clear_claims(forgiven).await,
            }
        }));
    }

    /// Parks a saga; its neighbours go on.
    pub(super) fn park(&mut self, saga: SagaId, why: String) {
        tracing::error!(saga_id = %saga, why, "the saga is parked");
        if let Some(live) = self.remove(saga) {
            if let Some(counted) = live.counted {
                self.metrics.released(counted);
            }
            if live.writing {
                self.recovery.unsettled.insert(saga);
            }
            self.show_parked(saga, live.series);
            for on_durable in live.on_durable {
                refuse(on_durable.answer, RequestError::Unknown);
            }
            let told = live.inbox.into_iter().filter_map(|told| told.answer);
            for answer in told.chain(live.waiters.into_iter().map(|waiter| waiter.answer)) {
                refuse(answer, RequestError::NotHere);
            }
        }
        if self.recovery.parking.insert(saga) {
            self.quarantine(saga, why, 0);
        }
        self.progressed(saga);
    }

    /// Shows that a saga is parked, once.
    pub(super) fn show_parked(&mut self, saga: SagaId, series: Series) {
        if self.recovery.parked.insert(saga, series).is_none() {
            self.metrics.parked(series, true);
        }
    }

    /// Shows that a saga is not parked any more.
    pub(super) fn show_unparked(&mut self, saga: SagaId) {
        if let Some(series) = self.recovery.parked.remove(&saga) {
            self.metrics.parked(series, false);
        }
    }

    fn quarantine(&mut self, saga: SagaId, why: String, wait_ms: u64) {
        let (journal, clock) = (Arc::clone(&self.journal), Arc::clone(&self.clock));
        let at = self.clock.now().plus(wait_ms);
        self.notes += 1;
        self.work.push(Box::pin(async move {
            clock.sleep_until(at).await;
            let result = journal.quarantine(saga, why.clone()).await;
            Done::Parked { saga, why, result }
        }));
    }

    /// A quarantine that is not written leaves a saga that nobody drives and nobody sees: it is tried until it is.
    pub(super) fn parked(&mut self, saga: SagaId, why: String, result: Result<(), JournalError>) {
        self.notes -= 1;
        if self.journal_ok(result).is_some() {
            self.recovery.parking.remove(&saga);
        } else {
            self.quarantine(saga, why, RETRY_MS);
        }
    }

    pub(super) fn forgiven(&mut self, result: Result<(), JournalError>) {
        self.notes -= 1;
        // If it was not noted, the next process counts from where this one began.
        self.journal_ok(result);
    }
}
