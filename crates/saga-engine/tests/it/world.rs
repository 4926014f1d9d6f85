//! A world in which everything can be told to go wrong: journal, participants, clock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ids::SagaId;
use saga_core::{
    Backoff, Epilogue, Event, Millis, Op, OpKey, Outcome, Payload, Phase, Plan, Recorded, Start, StepError,
    StepPlan, Zone,
};
use saga_engine::{
    Answer, Beat, Call, CallResult, Clock, Config, DefinitionId, Engine, Fate, Handle, Identity, Journal,
    JournalError, Loaded, NewSaga, Noted, Participant, ParticipantId, Participants, Row, Stopped, Transition,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Virtual time: the tests run with the clock of the runtime paused, so waits cost nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct VirtualClock {
    zero: Instant,
}

impl VirtualClock {
    pub(crate) fn new() -> Self {
        Self { zero: Instant::now() }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Millis {
        let passed = u64::try_from(self.zero.elapsed().as_millis()).unwrap();
        Millis(1_700_000_000_000).plus(passed)
    }

    fn jitter(&self) -> u32 {
        u32::MAX / 2
    }

    async fn sleep_until(&self, at: Millis) {
        tokio::time::sleep(Duration::from_millis(at.since(self.now()))).await;
    }
}

/// What the journal does with the next append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Writes, but the caller never learns of it.
    LostAnswer,
    /// Does not write, and the caller never learns of it.
    LostWrite,
    /// Calls the first transition unwritable and writes the others.
    Unwritable,
}

#[derive(Debug, Clone)]
pub(crate) struct Stored {
    identity: Arc<Identity>,
    digest: [u8; 32],
    pub(crate) row: Row,
    pub(crate) events: Vec<Recorded>,
    pub(crate) claims: u32,
    pub(crate) quarantined: Option<String>,
}

#[derive(Debug, Default)]
pub(crate) struct Disk {
    pub(crate) epoch: u64,
    pub(crate) sagas: BTreeMap<SagaId, Stored>,
    keys: HashMap<(String, String), SagaId>,
    /// Appends that have begun, and those that have come to an end.
    pub(crate) appends_begun: usize,
    pub(crate) appends: usize,
    pub(crate) transitions: usize,
    /// Faults by number of the append.
    pub(crate) faults: HashMap<usize, Fault>,
    pub(crate) down: bool,
    pub(crate) beats_fail: bool,
    /// So many loads of one saga alone fail.
    pub(crate) failing_single_loads: usize,
    /// So many quarantines fail.
    pub(crate) failing_quarantines: usize,
    /// A load that this saga is part of fails.
    pub(crate) unloadable: Option<SagaId>,
    /// What the next looks for dead instances bring.
    pub(crate) taken_over: Vec<Vec<SagaId>>,
    /// What every beat tells.
    pub(crate) paused_types: Vec<Arc<str>>,
    pub(crate) resigned: bool,
    /// The answer to the next note is lost.
    pub(crate) lose_note: bool,
    /// How long listings take before they look, loads after it, and releases before they write, in milliseconds.
    pub(crate) slow: (u64, u64, u64),
    /// Largest number of sagas loaded at a time.
    pub(crate) largest_load: usize,
}

/// A journal in memory, as one process with one epoch sees it.
#[derive(Debug, Clone)]
pub(crate) struct MemoryJournal {
    pub(crate) disk: Arc<Mutex<Disk>>,
    epoch: u64,
}

impl MemoryJournal {
    fn check(&self, disk: &Disk) -> Result<(), JournalError> {
        if disk.epoch != self.epoch {
            return Err(JournalError::Fenced);
        }
        if disk.down {
            Err(JournalError::Unknown("the disk is down".into()))
        } else {
            Ok(())
        }
    }

    fn look_up(&self, sagas: &[SagaId]) -> Result<Vec<Loaded>, JournalError> {
        let mut disk = self.disk.lock().unwrap();
        self.check(&disk)?;
        if sagas.len() == 1 && disk.failing_single_loads > 0 {
            disk.failing_single_loads -= 1;
            return Err(JournalError::Unknown("no load".into()));
        }
        if disk.unloadable.is_some_and(|saga| sagas.contains(&saga)) {
            return Err(JournalError::Unknown("no load".into()));
        }
        disk.largest_load = disk.largest_load.max(sagas.len());
        let unfinished = sagas
            .iter()
            .filter_map(|id| disk.sagas.get(id))
            .filter(|s| !s.row.phase.is_ended());
        Ok(unfinished
            .map(|stored| Loaded {
                identity: Arc::clone(&stored.identity),
                events: stored.events.clone(),
                row: stored.row.clone(),
                claims: stored.claims,
                quarantined: stored.quarantined.is_some(),
            })
            .collect())
    }
}

/// What a disk keeps of it: text.
pub(crate) fn as_written(identity: &Identity) -> Identity {
    Identity {
        id: identity.id,
        saga_type: Arc::clone(&identity.saga_type),
        business_id: identity.business_id.clone(),
        definition: identity.definition,
        plan: Arc::clone(&identity.plan),
        input: Payload::new(identity.input.json()),
        traceparent: identity.traceparent.clone(),
        start: identity.start.clone(),
        actor: identity.actor.clone(),
    }
}

fn write(disk: &mut Disk, transition: &Transition) -> Fate {
    let identity = &transition.identity;
    if let Some(start) = &transition.start {
        let key = (identity.saga_type.to_string(), identity.business_id.clone());
        if let Some(existing) = disk.keys.get(&key) {
            return match disk.sagas[existing].digest == start.input_digest {
                true => Fate::Exists(*existing),
                false => Fate::InputMismatch(*existing),
            };
        }
        disk.keys.insert(key, identity.id);
        let stored = Stored {
            identity: Arc::new(as_written(identity)),
            digest: start.input_digest,
            row: transition.row.clone().expect("a start has a row"),
            events: Vec::new(),
            claims: 0,
            quarantined: None,
        };
        disk.sagas.insert(identity.id, stored);
    }
    let stored = disk.sagas.get_mut(&identity.id).expect("the saga was started");
    assert_eq!(
        stored.events.len(),
        transition.first_seq as usize,
        "events are written in order, once"
    );
    assert!(!stored.row.phase.is_ended(), "nothing is written after the end");
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

impl Journal for MemoryJournal {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn append(&self, _: usize, batch: &[Transition]) -> Result<Vec<Fate>, JournalError> {
        self.disk.lock().unwrap().appends_begun += 1;
        // A commit takes a moment; what comes meanwhile shares the next one.
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut disk = self.disk.lock().unwrap();
        self.check(&disk)?;
        disk.appends += 1;
        disk.transitions += batch.len();
        let number = disk.appends;
        let fault = disk.faults.get(&number).copied();
        if fault == Some(Fault::LostWrite) {
            return Err(JournalError::Unknown("lost write".into()));
        }
        let spoilt = usize::from(fault == Some(Fault::Unwritable));
        let fates = batch
            .iter()
            .enumerate()
            .map(|(i, transition)| {
                if i < spoilt {
                    Fate::Unwritable("no".to_owned())
                } else {
                    write(&mut disk, transition)
                }
            })
            .collect();
        if fault == Some(Fault::LostAnswer) {
            return Err(JournalError::Unknown("lost answer".into()));
        }
        Ok(fates)
    }

    async fn load(&self, sagas: Vec<SagaId>) -> Result<Vec<Loaded>, JournalError> {
        let loaded = self.look_up(&sagas);
        let slow_ms = self.disk.lock().unwrap().slow.1;
        tokio::time::sleep(Duration::from_millis(slow_ms)).await;
        loaded
    }

    async fn owned(&self, after: Option<SagaId>, limit: usize) -> Result<Vec<(SagaId, u32)>, JournalError> {
        let slow_ms = self.disk.lock().unwrap().slow.0;
        tokio::time::sleep(Duration::from_millis(slow_ms)).await;
        let disk = self.disk.lock().unwrap();
        self.check(&disk)?;
        let unfinished = disk
            .sagas
            .iter()
            .filter(|(_, stored)| !stored.row.phase.is_ended());
        let later = unfinished.filter(|(id, _)| after.is_none_or(|after| **id > after));
        Ok(later
            .map(|(id, stored)| (*id, stored.claims))
            .take(limit)
            .collect())
    }

    async fn count_claims(&self, sagas: Vec<SagaId>) -> Result<(), JournalError> {
        let mut disk = self.disk.lock().unwrap();
        self.check(&disk)?;
        for saga in sagas {
            disk.sagas.get_mut(&saga).unwrap().claims += 1;
        }
        Ok(())
    }

    async fn clear_claims(&self, sagas: Vec<SagaId>) -> Result<(), JournalError> {
        let mut disk = self.disk.lock().unwrap();
        self.check(&disk)?;
        for saga in sagas {
            disk.sagas.get_mut(&saga).unwrap().claims = 0;
        }
        Ok(())
    }

    async fn quarantine(&self, saga: SagaId, why: String) -> Result<(), JournalError> {
        let mut disk = self.disk.lock().unwrap();
        self.check(&disk)?;
        if disk.failing_quarantines > 0 {
            disk.failing_quarantines -= 1;
            return Err(JournalError::Unknown("no quarantine".into()));
        }
        if let Some(stored) = disk.sagas.get_mut(&saga) {
            stored.quarantined = Some(why);
        }
        Ok(())
    }

    async fn release(&self, saga: SagaId, expected: u32, recorded: Recorded) -> Result<Noted, JournalError> {
        let slow_ms = self.disk.lock().unwrap().slow.2;
        tokio::time::sleep(Duration::from_millis(slow_ms)).await;
        let mut disk = self.disk.lock().unwrap();
        self.check(&disk)?;
        let lost = std::mem::take(&mut disk.lose_note);
        let Some(stored) = disk.sagas.get_mut(&saga) else {
            return Ok(Noted::NotAllowed);
        };
        let version = u32::try_from(stored.events.len()).unwrap();
        if version != expected {
            return Ok(Noted::Changed { version });
        }
        if stored.quarantined.take().is_none() {
            return Ok(Noted::NotAllowed);
        }
        stored.claims = 0;
        stored.events.push(recorded);
        if lost {
            return Err(JournalError::Unknown("lost answer".into()));
        }
        Ok(Noted::Done)
    }

    async fn acknowledge(
        &self,
        saga: SagaId,
        expected: u32,
        recorded: Recorded,
    ) -> Result<Noted, JournalError> {
        let mut disk = self.disk.lock().unwrap();
        self.check(&disk)?;
        let found = disk
            .sagas
            .get_mut(&saga)
            .filter(|stored| stored.row.phase.is_ended());
        let Some(stored) = found else {
            return Ok(Noted::NotAllowed);
        };
        let version = u32::try_from(stored.events.len()).unwrap() + 1;
        if version != expected {
            return Ok(Noted::Changed { version });
        }
        if stored.row.attention.is_empty() {
            return Ok(Noted::NotAllowed);
        }
        stored.row.attention.clear();
        stored.events.push(recorded);
        Ok(Noted::Done)
    }

    async fn beat(&self) -> Result<Beat, JournalError> {
        let disk = self.disk.lock().unwrap();
        self.check(&disk)?;
        if disk.beats_fail {
            Err(JournalError::Unknown("no beat".into()))
        } else {
            Ok(Beat {
                paused_types: disk.paused_types.clone(),
            })
        }
    }

    async fn resign(&self) -> Result<(), JournalError> {
        let mut disk = self.disk.lock().unwrap();
        self.check(&disk)?;
        disk.resigned = true;
        disk.epoch += 1;
        Ok(())
    }

    async fn take_over(&self, _: usize) -> Result<Vec<SagaId>, JournalError> {
        let mut disk = self.disk.lock().unwrap();
        self.check(&disk)?;
        Ok(disk.taken_over.pop().unwrap_or_default())
    }
}

/// What a participant does with the next attempts of an operation.
#[derive(Debug, Clone)]
pub(crate) enum Script {
    Refuse,
    Fail,
    /// It never leaves.
    Unsent,
    /// The step's condition does not hold.
    Skip,
    /// Has its effect, but the answer is lost.
    LoseAnswer,
    Pending,
    /// As `Pending`, but it takes 100 ms to say so, and wants to be asked after half an hour.
    PendingForLong,
    Hang,
    /// Succeeds after so many milliseconds.
    Slow(u64),
    Panic,
    /// Not in the call but while it is made.
    PanicAtOnce,
    Superseded,
}

/// One effect that a participant had.
pub(crate) type Effect = (SagaId, u16, Op);

#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) calls: Vec<(SagaId, OpKey, u32)>,
    /// Effects in the order in which they happened, each once: the participant has a barrier.
    pub(crate) effects: Vec<Effect>,
    scripts: HashMap<(u16, Op), VecDeque<Script>>,
    /// Refusals are stored behind the barrier like effects: asked again, the answer is the same.
    refusals: Vec<Effect>,
    /// What was durable when the call arrived: number of events of the saga.
    pub(crate) durable_at_call: Vec<usize>,
    /// How many appends had begun when the call was made.
    pub(crate) appends_at_call: Vec<usize>,
    /// Probes among the calls.
    pub(crate) probes: Vec<(SagaId, OpKey, u32)>,
    /// Calls that a step's participant is busy with, and the most there ever were.
    busy: HashMap<u16, (usize, usize)>,
    /// The participant of the first step answers all others, too.
    pub(crate) one_for_all: bool,
}

impl Books {
    pub(crate) fn most_at_once(&self, step: u16) -> usize {
        self.busy.get(&step).map_or(0, |(_, most)| *most)
    }
}

/// A call that a participant is busy with, until it is dropped.
struct Busy(Arc<Mutex<Books>>, u16);

impl Busy {
    fn with(books: &Arc<Mutex<Books>>, step: u16) -> Self {
        let mut locked = books.lock().unwrap();
        let (now, most) = locked.busy.entry(step).or_default();
        *now += 1;
        *most = (*most).max(*now);
        Self(Arc::clone(books), step)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.lock().unwrap().busy.entry(self.1).or_default().0 -= 1;
    }
}

/// Participants that have each effect once, whatever is repeated.
#[derive(Debug, Clone)]
pub(crate) struct ScriptedParticipants {
    pub(crate) books: Arc<Mutex<Books>>,
    disk: Arc<Mutex<Disk>>,
}

impl ScriptedParticipants {
    /// Each step has a participant of its own, unless one answers all.
    fn whose(&self, step: u16) -> u16 {
        let one_for_all = self.books.lock().unwrap().one_for_all;
        if one_for_all { 0 } else { step }
    }

    pub(crate) fn script(&self, step: u16, op: Op, scripts: impl IntoIterator<Item = Script>) {
        self.books
            .lock()
            .unwrap()
            .scripts
            .insert((step, op), scripts.into_iter().collect());
    }
}

fn unsent() -> CallResult {
    let CallResult::Outcome(Outcome::Failed { error, .. }) = failed() else {
        unreachable!("a failure")
    };
    CallResult::Outcome(Outcome::Failed {
        class: saga_core::FailureClass::Unsent,
        error,
    })
}

/// The answer to whoever asks what became of an action.
fn probed(books: &Mutex<Books>, call: &Call) -> Answer {
    let mut books = books.lock().unwrap();
    books.probes.push((call.saga.id, call.key, call.attempt));
    let effect = (call.saga.id, call.key.step, call.key.op);
    let outcome = if books.effects.contains(&effect) {
        Outcome::Succeeded(Payload::new("{}"))
    } else {
        Outcome::NotSeen
    };
    Answer {
        request: None,
        result: CallResult::Outcome(outcome),
    }
}

fn failed() -> CallResult {
    let error = StepError {
        code: "UNAVAILABLE".into(),
        reason: "".into(),
        domain: "".into(),
        message: "no answer".into(),
    };
    CallResult::Outcome(Outcome::Failed {
        class: saga_core::FailureClass::Unknown,
        error,
    })
}

impl Participants for ScriptedParticipants {
    fn participants(&self) -> Vec<Participant> {
        ["p0", "p1", "p2", "p3"]
            .map(|name| Participant {
                name: name.into(),
                limit: None,
            })
            .to_vec()
    }

    fn participant(&self, _: DefinitionId, key: OpKey, _: bool) -> Option<ParticipantId> {
        Some(ParticipantId(usize::from(self.whose(key.step))))
    }

    fn call(&self, call: Call) -> impl Future<Output = Answer> + Send + 'static {
        let (books, disk) = (Arc::clone(&self.books), Arc::clone(&self.disk));
        let whose = self.whose(call.key.step);
        let at_once = {
            let books = books.lock().unwrap();
            let scripts = books.scripts.get(&(call.key.step, call.key.op));
            matches!(scripts.and_then(VecDeque::front), Some(Script::PanicAtOnce))
        };
        if at_once {
            self.script(call.key.step, call.key.op, []);
            panic!("making the call panics");
        }
        async move {
            let _busy = Busy::with(&books, whose);
            let appends = disk.lock().unwrap().appends_begun;
            books.lock().unwrap().appends_at_call.push(appends);
            tokio::time::sleep(Duration::from_millis(1)).await;
            if call.probe {
                return probed(&books, &call);
            }
            let durable = disk
                .lock()
                .unwrap()
                .sagas
                .get(&call.saga.id)
                .map_or(0, |s| s.events.len());
            let script = {
                let mut books = books.lock().unwrap();
                books.calls.push((call.saga.id, call.key, call.attempt));
                books.durable_at_call.push(durable);
                if books
                    .refusals
                    .contains(&(call.saga.id, call.key.step, call.key.op))
                {
                    Some(Script::Refuse)
                } else {
                    let scripts = books.scripts.get_mut(&(call.key.step, call.key.op));
                    scripts.and_then(VecDeque::pop_front)
                }
            };
            let have_effect = || {
                let effect = (call.saga.id, call.key.step, call.key.op);
                let mut books = books.lock().unwrap();
                if !books.effects.contains(&effect) {
                    books.effects.push(effect);
                }
            };
            let result = match script {
                None => {
                    have_effect();
                    let reply = Payload::new(format!("{{\"step\":{}}}", call.key.step));
                    CallResult::Outcome(Outcome::Succeeded(reply))
                }
                Some(Script::Refuse) => {
                    let refusal = (call.saga.id, call.key.step, call.key.op);
                    books.lock().unwrap().refusals.push(refusal);
                    CallResult::Outcome(Outcome::Refused {
                        error: StepError {
                            code: "FAILED_PRECONDITION".into(),
                            reason: "NO".into(),
                            domain: "test".into(),
                            message: "no".into(),
                        },
                        stored: true,
                    })
                }
                Some(Script::Fail) => failed(),
                Some(Script::Unsent) => unsent(),
                Some(Script::Skip) => CallResult::Outcome(Outcome::Skipped),
                Some(Script::LoseAnswer) => {
                    have_effect();
                    failed()
                }
                Some(Script::Pending) => CallResult::Pending { ask_again_ms: 50 },
                Some(Script::PendingForLong) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    CallResult::Pending {
                        ask_again_ms: 30 * 60_000,
                    }
                }
                Some(Script::Hang) => {
                    tokio::time::sleep(Duration::from_millis(call.timeout_ms)).await;
                    failed()
                }
                Some(Script::Slow(ms)) => {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    have_effect();
                    CallResult::Outcome(Outcome::Succeeded(Payload::new("{}")))
                }
                Some(Script::Panic | Script::PanicAtOnce) => panic!("the participant's code panics"),
                Some(Script::Superseded) => CallResult::Superseded,
            };
            Answer {
                request: Some(Payload::new("{}")),
                result,
            }
        }
    }
}

/// Disk and participants, which outlive the engine's processes.
pub(crate) struct World {
    pub(crate) disk: Arc<Mutex<Disk>>,
    pub(crate) participants: ScriptedParticipants,
    pub(crate) clock: VirtualClock,
    pub(crate) config: Config,
}

/// A process with an engine.
pub(crate) struct Process {
    pub(crate) handle: Handle,
    task: JoinHandle<Result<(), Stopped>>,
    stop: Option<oneshot::Sender<()>>,
}

impl Process {
    /// Ends the process at once, as SIGKILL would.
    pub(crate) fn kill(self) {
        self.task.abort();
    }

    pub(crate) async fn stop(mut self) -> Result<(), Stopped> {
        let _ = self.stop.take().unwrap().send(());
        self.task.await.unwrap()
    }

    pub(crate) async fn ended(self) -> Result<(), Stopped> {
        self.task.await.unwrap()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let disk = Arc::new(Mutex::new(Disk::default()));
        let participants = ScriptedParticipants {
            books: Arc::default(),
            disk: Arc::clone(&disk),
        };
        Self {
            disk,
            participants,
            clock: VirtualClock::new(),
            config: Config::default(),
        }
    }

    /// Starts a process, which fences the one before.
    pub(crate) fn process(&self) -> Process {
        let epoch = {
            let mut disk = self.disk.lock().unwrap();
            disk.epoch += 1;
            disk.epoch
        };
        let journal = Arc::new(MemoryJournal {
            disk: Arc::clone(&self.disk),
            epoch,
        });
        let participants = Arc::new(self.participants.clone());
        let (handle, engine) = Engine::new(self.config.clone(), journal, participants, Arc::new(self.clock));
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(engine.run(async move {
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        }));
        Process {
            handle,
            task,
            stop: Some(stop),
        }
    }

    pub(crate) fn saga(&self, plan: &Arc<Plan>, business_id: &str) -> NewSaga {
        NewSaga {
            identity: Arc::new(Identity {
                id: SagaId::new(),
                saga_type: "TEST".into(),
                business_id: business_id.to_owned(),
                definition: DefinitionId(1),
                plan: Arc::clone(plan),
                input: Payload::new("{}"),
                traceparent: None,
                start: Start {
                    at: self.clock.now(),
                    deadline_ms: 3_600_000,
                    expires_ms: Vec::new(),
                },
                actor: "test".to_owned(),
            }),
            input_digest: [7; 32],
        }
    }

    pub(crate) fn phase(&self, saga: SagaId) -> Option<Phase> {
        self.disk
            .lock()
            .unwrap()
            .sagas
            .get(&saga)
            .map(|stored| stored.row.phase)
    }

    pub(crate) async fn until_ended(&self, saga: SagaId) -> Phase {
        self.until(|world| world.phase(saga).filter(|phase| phase.is_ended()))
            .await
    }

    /// Waits, in virtual time, until a look finds something.
    pub(crate) async fn until<T>(&self, mut look: impl FnMut(&Self) -> Option<T>) -> T {
        for _ in 0..1_000_000 {
            if let Some(found) = look(self) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("what was waited for never happened");
    }

    pub(crate) fn effects(&self, saga: SagaId) -> Vec<(u16, Op)> {
        let books = self.participants.books.lock().unwrap();
        books
            .effects
            .iter()
            .filter(|e| e.0 == saga)
            .map(|e| (e.1, e.2))
            .collect()
    }

    pub(crate) fn kinds(&self, saga: SagaId) -> Vec<&'static str> {
        let disk = self.disk.lock().unwrap();
        disk.sagas[&saga]
            .events
            .iter()
            .map(|recorded| match recorded.event {
                Event::Succeeded { .. } => "succeeded",
                Event::Refused { .. } => "refused",
                Event::Failed { .. } => "failed",
                Event::Pending { .. } => "pending",
                Event::Abandoned { .. } => "abandoned",
                Event::Skipped { .. } => "skipped",
                Event::LateSuccess { .. } => "late_success",
                Event::Operator { .. } => "operator",
                Event::Unwinding { .. } => "unwinding",
                Event::Committed => "committed",
                Event::DeadlineMissed => "deadline_missed",
                Event::Ended { .. } => "ended",
            })
            .collect()
    }
}

/// Two compensatable steps, then one that only goes forward, and an epilogue.
pub(crate) fn plan() -> Arc<Plan> {
    let step = |name: &str, after: &[u16], zone: Zone| StepPlan {
        name: name.into(),
        after: after.to_vec(),
        zone,
        compensated: zone == Zone::Compensatable,
        backoff: Backoff::default(),
        compensation_backoff: Backoff::default(),
        timeout_ms: 10_000,
        compensation_timeout_ms: 10_000,
        expires: false,
        probe: false,
        conditional: false,
    };
    let steps = vec![
        step("A", &[], Zone::Compensatable),
        step("B", &[0], Zone::Compensatable),
        step("C", &[1], Zone::Retriable),
    ];
    let epilogue = Epilogue {
        name: "AFTER".into(),
        backoff: Backoff::default(),
        timeout_ms: 10_000,
    };
    Arc::new(Plan::new(steps, Some(epilogue), 60_000).unwrap())
}

/// One step, which is undone if it must be.
pub(crate) fn single() -> Arc<Plan> {
    single_with(|_| {})
}

pub(crate) fn single_with(change: impl FnOnce(&mut StepPlan)) -> Arc<Plan> {
    let mut step = plan().steps()[0].clone();
    change(&mut step);
    Arc::new(Plan::new(vec![step], None, 60_000).unwrap())
}
