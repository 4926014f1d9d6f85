//! One disk, journals of several replicas with epochs and leases of their own.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ids::SagaId;
use saga_core::Recorded;
use saga_engine::{Beat, Clock as _, Fate, Identity, Journal, JournalError, Loaded, Noted, Row, Transition};

use super::broken::Broken;
use super::dice::Dice;
use super::trace::Trace;
use super::weather::Host;
use crate::world::VirtualClock;

pub(crate) const LEASE: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) identity: Arc<Identity>,
    digest: [u8; 32],
    owner: usize,
    pub(crate) row: Row,
    pub(crate) events: Vec<Recorded>,
    claims: u32,
    pub(crate) quarantined: Option<String>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Replica {
    epoch: u64,
    expires_ms: i64,
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    replicas: BTreeMap<usize, Replica>,
    pub(crate) sagas: BTreeMap<SagaId, Stored>,
    keys: HashMap<String, SagaId>,
    /// One journal operation in so many goes wrong; 0 for none.
    pub(crate) faults: u32,
    pub(crate) takeovers: u32,
    pub(crate) paused_types: Vec<Arc<str>>,
    pub(super) broken: Option<Broken>,
    /// What a journal must never be asked to do, and was.
    pub(super) violations: Vec<String>,
}

/// A journal as one life of one replica sees it.
#[derive(Debug)]
pub(crate) struct SimJournal {
    pub(crate) disk: Arc<Mutex<Disk>>,
    pub(crate) dice: Dice,
    /// The database's own, which judges leases.
    clock: VirtualClock,
    host: Host,
    trace: Trace,
    replica: usize,
    epoch: u64,
    /// Sagas of a takeover whose answer was lost.
    unanswered: Mutex<Vec<SagaId>>,
}

fn lost(what: &str) -> JournalError {
    JournalError::Unknown(what.to_owned().into())
}

impl SimJournal {
    /// Registers a new life of a replica, which fences the one before.
    pub(super) fn open(
        disk: &Arc<Mutex<Disk>>,
        dice: &Dice,
        (clock, trace): (VirtualClock, &Trace),
        host: &Host,
        replica: usize,
    ) -> Self {
        let mut locked = disk.lock().unwrap();
        let entry = locked.replicas.entry(replica).or_default();
        entry.epoch += 1;
        entry.expires_ms = clock.now().plus(ms(LEASE)).0;
        let epoch = entry.epoch;
        drop(locked);
        Self {
            disk: Arc::clone(disk),
            dice: dice.clone(),
            clock,
            host: host.clone(),
            trace: trace.clone(),
            replica,
            epoch,
            unanswered: Mutex::default(),
        }
    }

    /// Takes a moment, then does `work` under the fence; before or after it, the connection may be lost.
    async fn on_disk<T>(&self, what: &str, work: impl FnOnce(&mut Disk) -> T) -> Result<T, JournalError> {
        self.delay().await;
        if !self.host.reaches_disk() {
            // It hangs until somebody's patience ends.
            tokio::time::sleep(Duration::from_millis(self.dice.below(3_000).into())).await;
        }
        let cut = !self.host.reaches_disk();
        let result = {
            let mut disk = self.disk.lock().unwrap();
            let fault = cut || (disk.faults > 0 && self.dice.one_in(disk.faults));
            let fenced = disk.replicas[&self.replica].epoch != self.epoch;
            if fault && self.dice.one_in(2) {
                Err(lost("before"))
            } else if fenced && disk.broken != Some(Broken::NothingIsFenced) {
                Err(JournalError::Fenced)
            } else {
                let done = work(&mut disk);
                if fault { Err(lost("after")) } else { Ok(done) }
            }
        };
        let (replica, epoch) = (self.replica, self.epoch);
        match &result {
            Ok(_) => {}
            Err(JournalError::Fenced) => self
                .trace
                .note(&format!("replica {replica}.{epoch} is fenced: {what}")),
            Err(JournalError::Unknown(when)) => {
                self.trace.note(&format!(
                    "replica {replica}.{epoch} hears nothing of {what}, lost {when} it was done"
                ));
            }
        }
        self.delay().await;
        result
    }

    async fn delay(&self) {
        let ms = self.dice.below(4) + self.host.lag_ms(&self.dice);
        tokio::time::sleep(Duration::from_millis(ms.into())).await;
    }

    fn is_mine(&self, stored: &Stored) -> bool {
        stored.owner == self.replica && !stored.row.phase.is_ended()
    }

    fn write(&self, disk: &mut Disk, transition: &Transition) -> Fate {
        let identity = &transition.identity;
        if let Some(start) = &transition.start {
            if let Some(existing) = disk.keys.get(&identity.business_id) {
                return if disk.sagas[existing].digest == start.input_digest {
                    Fate::Exists(*existing)
                } else {
                    Fate::InputMismatch(*existing)
                };
            }
            disk.keys.insert(identity.business_id.clone(), identity.id);
            let stored = Stored {
                identity: Arc::clone(identity),
                digest: start.input_digest,
                owner: self.replica,
                row: transition.row.clone().expect("a start has a row"),
                events: Vec::new(),
                claims: 0,
                quarantined: None,
            };
            disk.sagas.insert(identity.id, stored);
        }
        let stored = &disk.sagas[&identity.id];
        let never = [
            ("only_the_owner_writes", stored.owner == self.replica),
            (
                "events_are_written_in_order_and_once",
                stored.events.len() == transition.first_seq as usize,
            ),
            ("nothing_is_written_after_the_end", !stored.row.phase.is_ended()),
        ];
        for (name, _) in never.iter().filter(|(_, holds)| !holds) {
            let what = format!("{name}: {} by {}.{}", identity.id, self.replica, self.epoch);
            disk.violations.push(what);
        }
        let stored = disk.sagas.get_mut(&identity.id).expect("the saga was started");
        for entry in &transition.entries {
            let (replica, epoch) = (self.replica, self.epoch);
            let event = format!("{:?}", entry.recorded.event);
            self.trace.note(&format!(
                "replica {replica}.{epoch} records {} {event}",
                identity.business_id
            ));
        }
        stored
            .events
            .extend(transition.entries.iter().map(|entry| entry.recorded.clone()));
        if let Some(row) = &transition.row {
            stored.row = row.clone();
        }
        if transition.progressed {
            stored.claims = 0;
        }
        Fate::Durable
    }
}

impl Journal for SimJournal {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn append(&self, _: usize, batch: &[Transition]) -> Result<Vec<Fate>, JournalError> {
        let written = self
            .on_disk("a batch", |disk| {
                batch.iter().map(|one| self.write(disk, one)).collect()
            })
            .await;
        match written {
            Err(JournalError::Unknown(_))
                if self.disk.lock().unwrap().broken == Some(Broken::LostWriteIsDurable) =>
            {
                Ok(vec![Fate::Durable; batch.len()])
            }
            written => written,
        }
    }

    async fn load(&self, sagas: Vec<SagaId>) -> Result<Vec<Loaded>, JournalError> {
        self.on_disk("a load", |disk| {
            let found = sagas.iter().filter_map(|id| disk.sagas.get(id));
            found
                .filter(|stored| self.is_mine(stored))
                .map(|stored| Loaded {
                    identity: Arc::clone(&stored.identity),
                    events: stored.events.clone(),
                    row: stored.row.clone(),
                    claims: stored.claims,
                    quarantined: stored.quarantined.is_some(),
                })
                .collect()
        })
        .await
    }

    async fn owned(&self, after: Option<SagaId>, limit: usize) -> Result<Vec<(SagaId, u32)>, JournalError> {
        self.on_disk("a list of sagas", |disk| {
            let mine = disk.sagas.iter().filter(|(_, stored)| self.is_mine(stored));
            mine.filter(|(id, _)| after.is_none_or(|after| **id > after))
                .map(|(id, stored)| (*id, stored.claims))
                .take(limit)
                .collect()
        })
        .await
    }

    async fn count_claims(&self, sagas: Vec<SagaId>) -> Result<(), JournalError> {
        self.on_disk("a count of claims", |disk| {
            for saga in sagas {
                disk.sagas.get_mut(&saga).unwrap().claims += 1;
            }
        })
        .await
    }

    async fn clear_claims(&self, sagas: Vec<SagaId>) -> Result<(), JournalError> {
        self.on_disk("a clearing of claims", |disk| {
            for saga in sagas {
                disk.sagas.get_mut(&saga).unwrap().claims = 0;
            }
        })
        .await
    }

    async fn quarantine(&self, saga: SagaId, why: String) -> Result<(), JournalError> {
        self.on_disk("a quarantine", |disk| {
            disk.sagas.get_mut(&saga).unwrap().quarantined = Some(why);
        })
        .await
    }

    async fn release(&self, saga: SagaId, expected: u32, recorded: Recorded) -> Result<Noted, JournalError> {
        self.on_disk("a release", |disk| {
            let mine = disk.sagas.get_mut(&saga).filter(|stored| self.is_mine(stored));
            let Some(stored) = mine else {
                return Noted::NotAllowed;
            };
            let version = u32::try_from(stored.events.len()).unwrap();
            if version != expected {
                return Noted::Changed { version };
            }
            if stored.quarantined.take().is_none() {
                return Noted::NotAllowed;
            }
            stored.claims = 0;
            stored.events.push(recorded);
            Noted::Done
        })
        .await
    }

    async fn acknowledge(
        &self,
        saga: SagaId,
        expected: u32,
        recorded: Recorded,
    ) -> Result<Noted, JournalError> {
        self.on_disk("an acknowledgement", |disk| {
            let ended = disk
                .sagas
                .get_mut(&saga)
                .filter(|stored| stored.row.phase.is_ended());
            let Some(stored) = ended else {
                return Noted::NotAllowed;
            };
            let version = u32::try_from(stored.events.len()).unwrap() + 1;
            if version != expected {
                return Noted::Changed { version };
            }
            if stored.row.attention.is_empty() {
                return Noted::NotAllowed;
            }
            stored.row.attention.clear();
            stored.events.push(recorded);
            Noted::Done
        })
        .await
    }

    async fn beat(&self) -> Result<Beat, JournalError> {
        let expires_ms = self.clock.now().plus(ms(LEASE)).0;
        self.on_disk("a beat", |disk| {
            disk.replicas.get_mut(&self.replica).unwrap().expires_ms = expires_ms;
            Beat {
                paused_types: disk.paused_types.clone(),
            }
        })
        .await
    }

    async fn resign(&self) -> Result<(), JournalError> {
        self.on_disk("a resignation", |disk| {
            let replica = disk.replicas.get_mut(&self.replica).unwrap();
            replica.epoch += 1;
            replica.expires_ms = i64::MIN;
        })
        .await
    }

    async fn take_over(&self, limit: usize) -> Result<Vec<SagaId>, JournalError> {
        let unanswered = std::mem::take(&mut *self.unanswered.lock().unwrap());
        if !unanswered.is_empty() {
            let arrived = self
                .on_disk("a takeover", |disk| {
                    let mut sagas = unanswered.clone();
                    sagas.retain(|id| self.is_mine(&disk.sagas[id]));
                    sagas
                })
                .await;
            if arrived.is_err() {
                *self.unanswered.lock().unwrap() = unanswered;
            }
            return arrived;
        }
        let mut moved = Vec::new();
        let result = self
            .on_disk("a takeover", |disk| {
                let now = self.clock.now().0;
                let dead: Vec<usize> = disk
                    .replicas
                    .iter()
                    .filter(|(id, replica)| **id != self.replica && replica.expires_ms < now)
                    .map(|(id, _)| *id)
                    .collect();
                for replica in dead {
                    disk.replicas.get_mut(&replica).unwrap().epoch += 1;
                    let theirs = disk.sagas.iter_mut();
                    for (id, stored) in theirs.filter(|(_, s)| s.owner == replica && !s.row.phase.is_ended())
                    {
                        if moved.len() < limit {
                            stored.owner = self.replica;
                            moved.push(*id);
                        }
                    }
                }
                disk.takeovers += u32::from(!moved.is_empty());
            })
            .await;
        match result {
            Ok(()) => Ok(moved),
            Err(error) => {
                *self.unanswered.lock().unwrap() = moved;
                Err(error)
            }
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap()
}
