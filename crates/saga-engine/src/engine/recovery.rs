//! Loading sagas: at the start, after a takeover, after a write whose outcome is unknown.

use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use ids::SagaId;
use saga_core::{Millis, OpKey};

use super::live::{Live, Told, Waiter};
use super::metrics::{Counted, Series};
use super::suspects::SUSPECT_CLAIMS;
use super::{Done, Engine, panic_text, refuse, soundness};
use crate::handle::{Answer, RequestError};
use crate::journal::{Journal, JournalError, Loaded, Transition};
use crate::participants::{Clock, Participants};

/// Waits between tries while the journal does not answer, in milliseconds.
pub(super) const RETRY_MS: u64 = 200;

/// Where a saga that was loaded comes from, for the books.
#[derive(Debug, Clone, Copy)]
enum Origin {
    /// Another process drove it.
    Adopted,
    /// This one started it, and did not learn whether it was durable.
    Started,
    /// This one drove it before, and it still counts.
    Counted(Counted),
}

/// Why sagas are loaded.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// The process starts, or took sagas over.
    Claim { sagas: Vec<SagaId> },
    /// One suspect, alone.
    Suspect { saga: SagaId },
    /// The outcome of a write, or the state of a participant, is unknown.
    Reload { sagas: Vec<SagaId> },
}

/// What recovery remembers.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    pub(super) listed_until: Option<SagaId>,
    pub(super) listing: bool,
    pub(super) listed_all: bool,
    pub(super) to_claim: VecDeque<SagaId>,
    /// Sagas on their way into memory for the first time: waiting to be claimed, being loaded, or suspects. A saga that
    /// is listed twice must not be loaded twice: the second load could be stale when it is looked at.
    pub(super) claimed: HashSet<SagaId>,
    /// Sagas that were released while they were being loaded: what was loaded may be from before, so they are loaded again.
    again: HashSet<SagaId>,
    claiming: bool,
    pub(super) suspects: VecDeque<SagaId>,
    pub(super) suspect: Option<SagaId>,
    /// Counts suspects, so that a watch that ends late is not taken for that of the next one.
    pub(super) round: u64,
    /// Sagas whose quarantine is being written: not to be driven, whatever is loaded of them.
    pub(super) parking: HashSet<SagaId>,
    /// Sagas that were parked while a write of theirs was under way: they are not to be driven before it has ended, or its
    /// end would be taken for that of a later one.
    pub(super) unsettled: HashSet<SagaId>,
    /// A look at who survived is due.
    pub(super) watching: bool,
    /// Parked sagas of this instance, as far as it has seen them.
    pub(super) parked: HashMap<SagaId, Series>,
    reloading: HashMap<SagaId, Reloading>,
    to_reload: VecDeque<SagaId>,
    /// Which operation made a saga be loaded again because a participant called it superseded.
    superseded: HashMap<SagaId, OpKey>,
    reload_under_way: bool,
}

/// A saga that is loaded again.
#[derive(Debug, Default)]
pub(super) struct Reloading {
    pub(super) waiters: Vec<Waiter>,
    /// Successes of calls made before: of the operation, not of the attempt, so they hold whatever the journal says. If it
    /// was woken, whatever it was told.
    pub(super) told: Vec<Told>,
    /// As what it counts until it is known what became of it; as nothing if it may never have been started.
    pub(super) counted: Option<Counted>,
    /// It left memory in order: there is nothing of it that the journal does not have.
    pub(super) woken: bool,
    /// When pending operations want to be asked.
    pub(super) asks: Vec<(OpKey, Millis)>,
    #[cfg(debug_assertions)]
    pub(super) progress: Option<super::live::Progress>,
}

impl Reloading {
    /// Refuses everybody who waits for the saga, or told it something.
    fn refuse(self) {
        let told = self.told.into_iter().filter_map(|told| told.answer);
        for answer in told.chain(self.waiters.into_iter().map(|waiter| waiter.answer)) {
            refuse(answer, RequestError::NotHere);
        }
    }
}

impl Recovery {
    pub(super) fn reloading(&self) -> usize {
        self.reloading.len()
    }

    pub(super) fn is_reloading(&self, saga: SagaId) -> bool {
        self.reloading.contains_key(&saga)
    }

    pub(super) fn wait(&mut self, saga: SagaId, waiter: Waiter) {
        let waiters = &mut self.reloading.entry(saga).or_default().waiters;
        // During an outage nothing else forgets those who left.
        waiters.retain(|waiter| !waiter.answer.is_closed());
        waiters.push(waiter);
    }

    /// Queues a saga to be loaded that is neither in memory nor on its way there.
    pub(super) fn reload(&mut self, saga: SagaId, reloading: Reloading) {
        self.to_reload.push_back(saga);
        self.reloading.insert(saga, reloading);
    }

    /// Keeps what a saga was told for when it is loaded, if it was woken; otherwise gives it back.
    pub(super) fn tell_woken(&mut self, saga: SagaId, told: Told) -> Option<Told> {
        let Some(reloading) = self.reloading.get_mut(&saga).filter(|saga| saga.woken) else {
            return Some(told);
        };
        // During an outage nothing else forgets those who left; nothing was done for them.
        let left = |told: &Told| told.answer.as_ref().is_some_and(Answer::is_closed);
        reloading.told.retain(|told| !left(told));
        reloading.told.push(told);
        None
    }

    /// Lets everything that is pending be asked once the saga is loaded.
    pub(super) fn forget_asks(&mut self, saga: SagaId) {
        if let Some(reloading) = self.reloading.get_mut(&saga) {
            reloading.asks.clear();
        }
    }

    /// Tells those who told a saga something that it cannot be loaded now: nothing was done, they may try again.
    fn put_off(&mut self, sagas: &[SagaId]) {
        for saga in sagas {
            let Some(reloading) = self.reloading.get_mut(saga) else {
                continue;
            };
            for told in reloading.told.extract_if(.., |told| told.answer.is_some()) {
                let answer = told.answer.into_iter();
                answer.for_each(|answer| refuse(answer, RequestError::Unknown));
            }
        }
    }
}

/// Makes what could not be loaded smaller, and at last lets others go first: one saga that cannot be loaded must not keep
/// the others from it.
fn try_less(sagas: &mut Vec<SagaId>, queue: &mut VecDeque<SagaId>) {
    if sagas.len() > 1 {
        for saga in sagas.split_off(sagas.len() / 2).into_iter().rev() {
            queue.push_front(saga);
        }
    } else if let Some(other) = queue.pop_front() {
        queue.extend(sagas.drain(..));
        sagas.push(other);
    }
}

impl<J: Journal, P: Participants, C: Clock> Engine<J, P, C> {
    /// Queues sagas that this instance owns, those that it has or is loading already left out: one may have been started
    /// by this process before it was listed.
    pub(super) fn claim(&mut self, sagas: impl Iterator<Item = SagaId>) {
        for saga in sagas {
            let here = self.live.contains_key(&saga)
                || self.passive.contains(saga)
                || self.recovery.reloading.contains_key(&saga)
                || self.recovery.parking.contains(&saga);
            if !here && self.recovery.claimed.insert(saga) {
                self.recovery.to_claim.push_back(saga);
            }
        }
        self.claim_more();
    }

    /// Queues a saga that was released just now, even if it is being loaded: that load may have seen it parked.
    pub(super) fn claim_released(&mut self, saga: SagaId) {
        if self.recovery.claimed.contains(&saga) {
            self.recovery.again.insert(saga);
        } else {
            self.claim(std::iter::once(saga));
        }
    }

    /// Queues those again that were released while they were being loaded.
    fn claim_again(&mut self, loaded: &[SagaId]) {
        if !self.recovery.again.is_empty() {
            let again: Vec<SagaId> = loaded
                .iter()
                .filter(|saga| self.recovery.again.remove(saga))
                .copied()
                .collect();
            // Those that are driven by now are left out.
            self.claim(again.into_iter());
        }
    }

    /// Loads the next chunk of sagas that this instance has come to own.
    ///
    /// No more than there is room for: the rest follows as others end.
    pub(super) fn claim_more(&mut self) {
        let room = self.room();
        if self.recovery.claiming || self.recovery.to_claim.is_empty() || room == 0 || self.traffic.stopping {
            return;
        }
        self.recovery.claiming = true;
        let size = self.recovery.to_claim.len().min(self.config.load_chunk).min(room);
        let sagas: Vec<SagaId> = self.recovery.to_claim.drain(..size).collect();
        self.load(Purpose::Claim { sagas }, 0);
        self.list_more();
    }

    pub(super) fn load(&mut self, purpose: Purpose, wait_ms: u64) {
        let (journal, clock) = (Arc::clone(&self.journal), Arc::clone(&self.clock));
        let at = self.clock.now().plus(wait_ms);
        self.work.push(Box::pin(async move {
            clock.sleep_until(at).await;
            let result = match &purpose {
                Purpose::Reload { sagas } => journal.load(sagas.clone()).await,
                Purpose::Claim { sagas } => load_and_count(&*journal, sagas.clone(), SUSPECT_CLAIMS).await,
                Purpose::Suspect { saga } => load_and_count(&*journal, vec![*saga], u32::MAX).await,
            };
            Done::Loaded { purpose, result }
        }));
    }

    pub(super) fn loaded(&mut self, mut purpose: Purpose, result: Result<Vec<Loaded>, JournalError>) {
        let Some(loaded) = self.journal_ok(result) else {
            match &mut purpose {
                Purpose::Claim { sagas } => try_less(sagas, &mut self.recovery.to_claim),
                Purpose::Reload { sagas } => {
                    self.recovery.put_off(sagas);
                    try_less(sagas, &mut self.recovery.to_reload);
                }
                Purpose::Suspect { saga } => {
                    let mut one = vec![*saga];
                    try_less(&mut one, &mut self.recovery.suspects);
                    *saga = one[0];
                    self.recovery.suspect = Some(*saga);
                }
            }
            return self.load(purpose, RETRY_MS);
        };
        match purpose {
            Purpose::Claim { sagas } => {
                for saga in &sagas {
                    self.recovery.claimed.remove(saga);
                }
                for saga in loaded {
                    if saga.claims >= SUSPECT_CLAIMS && !saga.quarantined {
                        self.suspect(&saga);
                    } else {
                        self.drive_claimed(saga);
                    }
                }
                self.recovery.claiming = false;
                self.claim_again(&sagas);
                self.claim_more();
                self.next_suspect();
            }
            Purpose::Suspect { saga } => {
                self.recovery.claimed.remove(&saga);
                for saga in loaded {
                    self.drive_claimed(saga);
                }
                self.claim_again(&[saga]);
                self.watch_suspect(saga);
            }
            Purpose::Reload { sagas } => {
                for saga in loaded {
                    let id = saga.identity.id;
                    let reloading = self.recovery.reloading.remove(&id).unwrap_or_default();
                    self.drive_again(saga, reloading);
                }
                // What was not loaded has ended, was never written, or is not ours: the journal knows.
                for saga in sagas {
                    self.recovery.superseded.remove(&saga);
                    let reloading = self.recovery.reloading.remove(&saga).unwrap_or_default();
                    if let Some(counted) = reloading.counted {
                        self.metrics.released(counted);
                    }
                    reloading.refuse();
                }
                self.claim_more();
                self.recovery.reload_under_way = false;
                self.reload_more(0);
            }
        }
    }

    fn drive_claimed(&mut self, mut saga: Loaded) {
        // Counted before it is driven, see `load_and_count`.
        saga.claims = saga.claims.saturating_add(1);
        self.drive(saga, Reloading::default(), Origin::Adopted);
    }

    fn drive_again(&mut self, saga: Loaded, reloading: Reloading) {
        let origin = reloading.counted.map_or(Origin::Started, Origin::Counted);
        self.drive(saga, reloading, origin);
    }

    fn drive(&mut self, loaded: Loaded, reloading: Reloading, origin: Origin) {
        let saga = loaded.identity.id;
        let superseded = self.recovery.superseded.remove(&saga);
        let series = self.metrics.series(&loaded.identity);
        if loaded.quarantined {
            self.show_parked(saga, series);
        } else {
            self.show_unparked(saga);
        }
        let parked = loaded.quarantined || self.recovery.parking.contains(&saga);
        if parked || self.live.contains_key(&saga) || self.passive.contains(saga) {
            if let Origin::Counted(counted) = origin {
                self.metrics.released(counted);
            }
            return reloading.refuse();
        }
        self.generation += 1;
        let generation = self.generation;
        let identity = Arc::clone(&loaded.identity);
        let phase = loaded.row.phase;
        let mut counted = match origin {
            Origin::Adopted => self.metrics.adopted(series, phase, &identity),
            Origin::Started => self.metrics.started(series, phase, &identity),
            Origin::Counted(counted) => counted,
        };
        match catch_unwind(AssertUnwindSafe(|| Live::loaded(loaded, generation, series))) {
            Ok(mut live) => {
                self.metrics.changed(&mut counted, phase, &live.row().attention);
                soundness::check(&self.metrics, &live);
                #[cfg(debug_assertions)]
                if let Some(progress) = reloading.progress {
                    assert_eq!(
                        progress,
                        live.progress(),
                        "{saga} is not as it was when it left memory"
                    );
                }
                live.counted = Some(counted);
                live.waiters = reloading.waiters;
                live.inbox.extend(reloading.told);
                live.set_asks(reloading.asks);
                live.superseded = superseded;
                if live.claims() > 0 {
                    self.watch_survival();
                }
                self.live.insert(saga, Box::new(live));
                self.pump(saga);
            }
            Err(panic) => {
                self.metrics.released(counted);
                reloading.refuse();
                self.show_parked(saga, series);
                self.park(
                    saga,
                    format!("replaying its events panicked: {}", panic_text(&*panic)),
                );
            }
        }
    }

    /// Drops sagas whose last write may or may not be durable, and loads what is.
    pub(super) fn reload(&mut self, batch: Vec<Transition>) {
        for saga in batch.iter().map(|transition| transition.identity.id) {
            self.forget(saga);
        }
        self.reload_more(RETRY_MS);
    }

    /// Loads the next chunk of dropped sagas. One load at a time, so that an outage does not pile them up.
    pub(super) fn reload_more(&mut self, wait_ms: u64) {
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

    /// Keeps the success of a call for a saga that is loaded again; of any other there is nothing to keep.
    pub(super) fn keep_success(&mut self, saga: SagaId, told: Told) {
        if self.wake(saga) {
            self.reload_more(0);
        }
        if let Some(reloading) = self.recovery.reloading.get_mut(&saga) {
            reloading.told.push(told);
        }
    }

    fn forget(&mut self, saga: SagaId) {
        let mut waiters = Vec::new();
        let mut successes = Vec::new();
        let mut counted = None;
        if let Some(live) = self.remove(saga) {
            counted = live.counted;
            let on_durable = live.on_durable.into_iter().map(|on_durable| on_durable.answer);
            on_durable.for_each(|answer| refuse(answer, RequestError::Unknown));
            for told in live.inbox {
                let succeeded = told.is_success_of_a_call();
                match told.answer {
                    Some(answer) => refuse(answer, RequestError::Unknown),
                    None if succeeded => successes.push(told),
                    None => {}
                }
            }
            waiters = live.waiters;
        }
        if self.recovery.parking.contains(&saga) {
            if let Some(counted) = counted {
                self.metrics.released(counted);
            }
            return;
        }
        if !self.recovery.reloading.contains_key(&saga) {
            self.recovery.to_reload.push_back(saga);
        }
        let reloading = self.recovery.reloading.entry(saga).or_default();
        reloading.waiters.extend(waiters);
        reloading.told.extend(successes);
        reloading.counted = reloading.counted.or(counted);
    }
}

/// Loads sagas and counts the load, of those with fewer than `below` claims, before anything is done with them.
///
/// Counted last: a load that does not succeed is tried again, and must not count each time.
async fn load_and_count<J: Journal>(
    journal: &J,
    sagas: Vec<SagaId>,
    below: u32,
) -> Result<Vec<Loaded>, JournalError> {
    let loaded = journal.load(sagas).await?;
    let counted = loaded
        .iter()
        .filter(|saga| saga.claims < below && !saga.quarantined);
    let ids: Vec<SagaId> = counted.map(|saga| saga.identity.id).collect();
    if !ids.is_empty() {
        journal.count_claims(ids).await?;
    }
    Ok(loaded)
}
