//! Loading sagas: at the start, after a takeover, after a write whose outcome is unknown.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use ids::SagaId;
use saga_core::{Millis, OpKey};

use super::live::{Live, Waiter};
use super::{Done, Engine, millis, refuse};
use crate::handle::RequestError;
use crate::journal::{Journal, JournalError, Loaded, Transition};
use crate::participants::{Clock, Participants};

/// Loads without progress after which a saga is suspected of killing the process: it is driven alone.
const SUSPECT_CLAIMS: u32 = 3;
/// Loads without progress after which it is parked: it was alone, and the process died, again and again.
const PARK_CLAIMS: u32 = 6;
/// How long a saga must be driven without the process dying before it is no longer suspected, in milliseconds.
const SUSPECT_WATCH_MS: u64 = 250;
/// How long loaded sagas must be driven before their loads are forgotten, in milliseconds.
const SURVIVAL_MS: u64 = 10_000;
/// Waits between tries while the journal does not answer, in milliseconds.
const RETRY_MS: u64 = 200;

/// Why sagas are loaded.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// The process starts, or took sagas over. Carries what to load after this chunk.
    Claim { sagas: Vec<SagaId> },
    /// One suspect, alone.
    Suspect { saga: SagaId },
    /// The outcome of a write, or the state of a participant, is unknown.
    Reload { sagas: Vec<SagaId> },
}

/// What recovery remembers.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    listed_until: Option<SagaId>,
    to_claim: VecDeque<SagaId>,
    claiming: bool,
    suspects: VecDeque<SagaId>,
    suspect: Option<SagaId>,
    reloading: HashMap<SagaId, Vec<Waiter>>,
    to_reload: VecDeque<SagaId>,
    /// Which operation made a saga be loaded again because a participant called it superseded.
    superseded: HashMap<SagaId, OpKey>,
    reload_under_way: bool,
    /// Generation number up to which loaded sagas are watched for survival.
    watched_until: u64,
}

impl Recovery {
    pub(super) fn reloading(&self) -> usize {
        self.reloading.len()
    }

    pub(super) fn is_reloading(&self, saga: SagaId) -> bool {
        self.reloading.contains_key(&saga)
    }

    pub(super) fn wait(&mut self, saga: SagaId, waiter: Waiter) {
        self.reloading.entry(saga).or_default().push(waiter);
    }

    /// Notes that a saga made progress; tells whether it was the suspect.
    pub(super) fn progressed(&mut self, saga: SagaId) -> bool {
        let cleared = self.suspect == Some(saga);
        if cleared {
            self.suspect = None;
        }
        cleared
    }
}

impl<J: Journal, P: Participants, C: Clock> Engine<J, P, C> {
    /// Starts what goes on for ever: the lease, the first listing, the look for dead instances.
    pub(super) fn start_housekeeping(&mut self) {
        self.beat(0);
        self.list_owned(0);
        self.look_for_dead(millis(self.config.takeover_scan));
    }

    fn beat(&mut self, wait_ms: u64) {
        let (journal, clock) = (Arc::clone(&self.journal), Arc::clone(&self.clock));
        let at = self.clock.now().plus(wait_ms);
        self.work.push(Box::pin(async move {
            clock.sleep_until(at).await;
            // The lease counts from before the renewal, so it is never thought longer than it is.
            let began = clock.now();
            Done::Beat {
                began,
                result: journal.beat().await,
            }
        }));
    }

    pub(super) fn beat_done(&mut self, began: Millis, result: Result<(), JournalError>) {
        let wait = if self.journal_ok(result).is_some() {
            self.lease_until = began.plus(millis(self.config.lease));
            millis(self.config.heartbeat)
        } else {
            RETRY_MS
        };
        self.beat(wait);
        self.release_held();
    }

    fn list_owned(&mut self, wait_ms: u64) {
        let (journal, clock) = (Arc::clone(&self.journal), Arc::clone(&self.clock));
        let (after, limit) = (self.recovery.listed_until, self.config.load_chunk);
        let at = self.clock.now().plus(wait_ms);
        self.work.push(Box::pin(async move {
            clock.sleep_until(at).await;
            Done::Owned {
                result: journal.owned(after, limit).await,
            }
        }));
    }

    pub(super) fn owned(&mut self, result: Result<Vec<(SagaId, u32)>, JournalError>) {
        let Some(listed) = self.journal_ok(result) else {
            return self.list_owned(RETRY_MS);
        };
        let Some((last, _)) = listed.last() else { return };
        self.recovery.listed_until = Some(*last);
        // A saga may have been started by this process before it was listed.
        self.recovery.to_claim.extend(
            listed
                .iter()
                .map(|(id, _)| *id)
                .filter(|id| !self.live.contains_key(id)),
        );
        self.claim_more();
        self.list_owned(0);
    }

    fn look_for_dead(&mut self, wait_ms: u64) {
        let (journal, clock, limit) = (
            Arc::clone(&self.journal),
            Arc::clone(&self.clock),
            self.config.load_chunk,
        );
        let at = self.clock.now().plus(wait_ms);
        self.work.push(Box::pin(async move {
            clock.sleep_until(at).await;
            Done::TakenOver {
                result: journal.take_over(limit).await,
            }
        }));
    }

    pub(super) fn taken_over(&mut self, result: Result<Vec<SagaId>, JournalError>) {
        let taken = self.journal_ok(result).unwrap_or_default();
        // There may be another chunk.
        let wait = if taken.is_empty() {
            millis(self.config.takeover_scan)
        } else {
            0
        };
        if !taken.is_empty() {
            tracing::info!(sagas = taken.len(), "took over sagas of an instance that died");
        }
        self.recovery
            .to_claim
            .extend(taken.into_iter().filter(|id| !self.live.contains_key(id)));
        self.claim_more();
        self.look_for_dead(wait);
    }

    /// Loads the next chunk of sagas that this instance has come to own.
    fn claim_more(&mut self) {
        if self.recovery.claiming || self.recovery.to_claim.is_empty() {
            return;
        }
        self.recovery.claiming = true;
        let size = self.recovery.to_claim.len().min(self.config.load_chunk);
        let sagas: Vec<SagaId> = self.recovery.to_claim.drain(..size).collect();
        self.load(Purpose::Claim { sagas }, 0);
    }

    fn load(&mut self, purpose: Purpose, wait_ms: u64) {
        let (journal, clock) = (Arc::clone(&self.journal), Arc::clone(&self.clock));
        let at = self.clock.now().plus(wait_ms);
        self.work.push(Box::pin(async move {
            clock.sleep_until(at).await;
            let result = match &purpose {
                Purpose::Reload { sagas } => journal.load(sagas.clone()).await,
                Purpose::Claim { sagas } => load_and_count(&*journal, sagas.clone()).await,
                Purpose::Suspect { saga } => match journal.count_claims(vec![*saga]).await {
                    Ok(()) => journal.load(vec![*saga]).await,
                    Err(error) => Err(error),
                },
            };
            Done::Loaded { purpose, result }
        }));
    }

    pub(super) fn loaded(&mut self, purpose: Purpose, result: Result<Vec<Loaded>, JournalError>) {
        let Some(loaded) = self.journal_ok(result) else {
            return self.load(purpose, RETRY_MS);
        };
        match purpose {
            Purpose::Claim { .. } => {
                let (suspects, innocent): (Vec<_>, Vec<_>) = loaded
                    .into_iter()
                    .partition(|l| l.claims >= SUSPECT_CLAIMS && !l.quarantined);
                for suspect in suspects {
                    self.suspect(&suspect);
                }
                let any = !innocent.is_empty();
                for mut saga in innocent {
                    // Counted before it is driven, see `load_and_count`.
                    saga.claims += 1;
                    self.drive(saga, Vec::new());
                }
                if any {
                    self.watch_survival();
                }
                self.recovery.claiming = false;
                self.claim_more();
                self.next_suspect();
            }
            Purpose::Suspect { saga } => {
                if loaded.is_empty() {
                    self.recovery.progressed(saga);
                    return self.next_suspect();
                }
                for saga in loaded {
                    self.drive(saga, Vec::new());
                }
                self.watch_survival();
            }
            Purpose::Reload { sagas } => {
                for saga in loaded {
                    let waiters = self
                        .recovery
                        .reloading
                        .remove(&saga.identity.id)
                        .unwrap_or_default();
                    self.drive(saga, waiters);
                }
                // What was not loaded has ended, was never written, or is not ours: the journal knows.
                for saga in sagas {
                    self.recovery.superseded.remove(&saga);
                    for waiter in self.recovery.reloading.remove(&saga).unwrap_or_default() {
                        refuse(waiter.answer, RequestError::NotHere);
                    }
                }
                self.recovery.reload_under_way = false;
                self.reload_more(0);
            }
        }
    }

    fn suspect(&mut self, loaded: &Loaded) {
        let saga = loaded.identity.id;
        if loaded.claims >= PARK_CLAIMS {
            let why = format!(
                "the process died {} times while this saga was driven",
                loaded.claims
            );
            return self.park(saga, why);
        }
        tracing::warn!(saga_id = %saga, claims = loaded.claims, "loaded often without progress; driven alone");
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

    fn drive(&mut self, loaded: Loaded, waiters: Vec<Waiter>) {
        let saga = loaded.identity.id;
        if loaded.quarantined || self.live.contains_key(&saga) {
            for waiter in waiters {
                refuse(waiter.answer, RequestError::NotHere);
            }
            return;
        }
        self.generation += 1;
        let mut live = Live::loaded(loaded, self.generation);
        live.waiters = waiters;
        live.superseded = self.recovery.superseded.remove(&saga);
        self.live.insert(saga, live);
        self.pump(saga);
    }

    /// Looks again in a while: sagas that are still driven then have not killed the process.
    fn watch_survival(&mut self) {
        let clock = Arc::clone(&self.clock);
        let watch_ms = if self.recovery.suspect.is_some() {
            SUSPECT_WATCH_MS
        } else {
            SURVIVAL_MS
        };
        let (at, generation) = (self.clock.now().plus(watch_ms), self.generation);
        self.work.push(Box::pin(async move {
            clock.sleep_until(at).await;
            Done::Survived { generation }
        }));
    }

    pub(super) fn survived(&mut self, generation: u64) {
        if generation <= self.recovery.watched_until {
            return;
        }
        self.recovery.watched_until = generation;
        let survivors: Vec<SagaId> = self
            .live
            .values_mut()
            .filter(|live| live.generation <= generation && live.claims() > 0 && !live.writing)
            .map(|live| {
                live.forget_claims();
                live.id()
            })
            .collect();
        let suspect = self.recovery.suspect;
        if suspect.is_some_and(|s| survivors.contains(&s) || !self.live.contains_key(&s)) {
            self.recovery.suspect = None;
        }
        if !survivors.is_empty() {
            let journal = Arc::clone(&self.journal);
            self.work.push(Box::pin(async move {
                Done::Wrote {
                    result: journal.clear_claims(survivors).await,
                }
            }));
        }
        self.next_suspect();
    }

    /// Drops sagas whose last write may or may not be durable, and loads what is.
    pub(super) fn reload(&mut self, batch: Vec<Transition>) {
        for saga in batch.iter().map(|transition| transition.identity.id) {
            self.forget(saga);
        }
        self.reload_more(RETRY_MS);
    }

    /// Loads the next chunk of dropped sagas. One load at a time, so that an outage does not pile them up.
    fn reload_more(&mut self, wait_ms: u64) {
        if self.recovery.reload_under_way || self.recovery.to_reload.is_empty() {
            return;
        }
        self.recovery.reload_under_way = true;
        let size = self.recovery.to_reload.len().min(self.config.load_chunk);
        let sagas = self.recovery.to_reload.drain(..size).collect();
        self.load(Purpose::Reload { sagas }, wait_ms);
    }

    /// Drops one saga whose state in memory is stale, and loads it again.
    pub(super) fn reload_one(&mut self, saga: SagaId, key: OpKey) {
        // A write under way will be followed by its own answer; the saga is stale only once it is not writing.
        if self.live.get(&saga).is_some_and(|live| live.writing) {
            return;
        }
        self.forget(saga);
        self.recovery.superseded.insert(saga, key);
        self.reload_more(0);
    }

    fn forget(&mut self, saga: SagaId) {
        let mut waiters = Vec::new();
        if let Some(live) = self.live.remove(&saga) {
            let told = live.inbox.into_iter().filter_map(|told| told.answer);
            for answer in live.on_durable.into_iter().chain(told) {
                refuse(answer, RequestError::Unknown);
            }
            waiters = live.waiters;
        }
        if !self.recovery.reloading.contains_key(&saga) {
            self.recovery.to_reload.push_back(saga);
        }
        self.recovery.reloading.entry(saga).or_default().extend(waiters);
    }
}

/// Loads sagas and, unless they are suspects, counts the load before anything is done with them.
async fn load_and_count<J: Journal>(journal: &J, sagas: Vec<SagaId>) -> Result<Vec<Loaded>, JournalError> {
    let loaded = journal.load(sagas).await?;
    let innocent = loaded
        .iter()
        .filter(|saga| saga.claims < SUSPECT_CLAIMS && !saga.quarantined);
    let ids: Vec<SagaId> = innocent.map(|saga| saga.identity.id).collect();
    if !ids.is_empty() {
        journal.count_claims(ids).await?;
    }
    Ok(loaded)
}
