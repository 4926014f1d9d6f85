//! A seeded simulation: two replicas, one disk, a bad network, and everything that can go wrong.

mod broken;
mod checks;
mod dice;
mod disk;
mod people;
mod plans;
mod seeds;
mod services;
mod trace;
mod weather;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use ids::SagaId;
use saga_core::{Payload, Plan, Start, StepError};
use saga_engine::{
    BreakerConfig, Clock as _, Config, DefinitionId, Engine, Handle, Identity, NewSaga, RequestError, Seen,
    Stopped, Until,
};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::world::VirtualClock;
use broken::Broken;
use checks::answered;
use dice::Dice;
use disk::{Disk, LEASE, SimJournal};
use people::People;
use services::{Reached, Services};
use trace::Trace;
use weather::{Freezable, Freezer, Host};

const REPLICAS: usize = 2;
const KEYS: u32 = 6;

struct Sim {
    disk: Arc<Mutex<Disk>>,
    services: Services,
    dice: Dice,
    clock: VirtualClock,
    plans: Vec<Arc<Plan>>,
    replicas: Vec<Option<Process>>,
    hosts: Vec<Host>,
    trace: Trace,
    starts: Vec<Asked>,
    cancels: Vec<(SagaId, Answer)>,
    waits: Vec<(SagaId, Answer)>,
    people: People,
}

type Answer = JoinHandle<Result<Seen, RequestError>>;

struct Asked {
    key: u32,
    answer: Answer,
}

struct Process {
    handle: Handle,
    task: JoinHandle<Result<(), Stopped>>,
    stop: Option<oneshot::Sender<()>>,
    freezer: Freezer,
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sim {
    fn new(seed: u64, broken: Option<Broken>) -> Self {
        let dice = Dice::new(seed);
        let clock = VirtualClock::new();
        let trace = Trace::new(clock);
        let mut disk = Disk::default();
        disk.broken = broken;
        disk.faults = [0, 40, 12][usize::try_from(dice.below(3)).unwrap()];
        let faults = [0, 30, 8][usize::try_from(dice.below(3)).unwrap()];
        Self {
            disk: Arc::new(Mutex::new(disk)),
            services: Services {
                steps: Arc::default(),
                faults: Arc::new(Mutex::new(faults)),
                dice: dice.clone(),
                trace: trace.clone(),
                broken,
                violations: Arc::default(),
            },
            dice,
            clock,
            plans: plans::plans(),
            replicas: (0..REPLICAS).map(|_| None).collect(),
            hosts: (0..REPLICAS).map(|_| Host::new(clock)).collect(),
            trace,
            starts: Vec::new(),
            cancels: Vec::new(),
            waits: Vec::new(),
            people: People::default(),
        }
    }

    /// Starts a new life of a replica. The life before may still be going on; it is fenced.
    fn boot(&mut self, replica: usize) {
        let passive_after_ms = [60, 400, 300_000][usize::try_from(self.dice.below(3)).unwrap()];
        let config = Config {
            passive_after: Duration::from_millis(passive_after_ms),
            lease: LEASE,
            heartbeat: Duration::from_millis(500),
            takeover_scan: Duration::from_millis(500),
            load_chunk: 3,
            max_batch: 4,
            max_calls: 3,
            breaker: BreakerConfig {
                failures: 3,
                open: Duration::from_millis(300),
                max_open: Duration::from_secs(2),
            },
            drain: Duration::from_secs(2),
            ..Config::default()
        };
        let host = &self.hosts[replica];
        let outside = (self.clock, &self.trace);
        let journal = SimJournal::open(&self.disk, &self.dice, outside, host, replica);
        let reached = Reached {
            services: self.services.clone(),
            host: host.clone(),
        };
        let (handle, engine) = Engine::new(
            config,
            Arc::new(journal),
            Arc::new(reached),
            Arc::new(host.clone()),
        );
        self.trace.note(&format!("replica {replica} starts"));
        let (stop, stopped) = oneshot::channel::<()>();
        let run = engine.run(async move {
            if stopped.await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        let freezer = Freezer::default();
        let task = tokio::spawn(Freezable::new(run, freezer.clone()));
        self.replicas[replica] = Some(Process {
            handle,
            task,
            stop: Some(stop),
            freezer,
        });
    }

    fn handle(&self) -> Option<Handle> {
        let replica = usize::try_from(self.dice.below(2)).unwrap();
        self.replicas[replica]
            .as_ref()
            .map(|process| process.handle.clone())
    }

    fn new_saga(&self, key: u32) -> NewSaga {
        let plan = Arc::clone(&self.plans[usize::try_from(key).unwrap() % self.plans.len()]);
        let (high, low) = (self.dice.next(), self.dice.next());
        let time_ms = u64::try_from(self.clock.now().0).unwrap();
        NewSaga {
            identity: Arc::new(Identity {
                id: SagaId::from_uuid(uuid::Uuid::from_u64_pair(
                    time_ms << 16 | 0x7000 | (high & 0xfff),
                    low >> 2 | 1 << 63,
                )),
                saga_type: "SIM".into(),
                business_id: format!("k{key}"),
                definition: DefinitionId(1),
                plan,
                input: Payload::new("{}"),
                traceparent: None,
                start: Start {
                    at: self.clock.now(),
                    deadline_ms: if key.is_multiple_of(2) { 3_000 } else { 600_000 },
                    expires_ms: Vec::new(),
                },
                actor: "sim".to_owned(),
            }),
            input_digest: [7; 32],
        }
    }

    fn some_saga(&self) -> Option<SagaId> {
        let disk = self.disk.lock().unwrap();
        let count = u32::try_from(disk.sagas.len()).unwrap();
        let nth = usize::try_from(self.dice.below(count)).unwrap();
        disk.sagas.keys().nth(nth).copied()
    }

    /// Does one random thing.
    async fn act(&mut self) {
        let replica = usize::try_from(self.dice.below(2)).unwrap();
        match self.dice.below(28) {
            // Kill; a later boot, or the other replica, goes on.
            0 => {
                self.trace.note(&format!("replica {replica} is killed"));
                self.replicas[replica] = None;
            }
            1 => {
                self.trace.note(&format!("replica {replica} is told to stop"));
                if let Some(mut process) = self.replicas[replica].take() {
                    let _ = process.stop.take().unwrap().send(());
                    let _ = (&mut process.task).await;
                }
            }
            2..=4 => {
                if self.replicas[replica]
                    .as_ref()
                    .is_none_or(|p| p.task.is_finished())
                {
                    self.boot(replica);
                }
            }
            // A second process under the same name.
            5 if self.dice.one_in(2) => self.boot(replica),
            5..=9 => {
                if let Some(handle) = self.handle() {
                    let key = self.dice.below(KEYS);
                    self.trace.note(&format!("somebody starts k{key}"));
                    let saga = self.new_saga(key);
                    let until = if self.dice.one_in(2) {
                        Until::End
                    } else {
                        Until::Durable
                    };
                    let answer =
                        tokio::spawn(async move { handle.start(saga, until, Duration::from_secs(5)).await });
                    self.starts.push(Asked { key, answer });
                }
            }
            10..=11 => {
                if let (Some(handle), Some(saga)) = (self.handle(), self.some_saga()) {
                    self.trace.note(&format!("somebody cancels {saga}"));
                    let note = StepError {
                        code: "CANCELLED".into(),
                        reason: "".into(),
                        domain: "".into(),
                        message: "".into(),
                    };
                    let answer = tokio::spawn(async move { handle.cancel(saga, "sim".into(), note).await });
                    self.cancels.push((saga, answer));
                }
            }
            12..=13 => {
                if let (Some(handle), Some(saga)) = (self.handle(), self.some_saga()) {
                    let answer =
                        tokio::spawn(
                            async move { handle.wait(saga, Until::End, Duration::from_secs(3)).await },
                        );
                    self.waits.push((saga, answer));
                }
            }
            14..=16 => self.press(),
            17..=19 => self.complete(),
            20 => self.pause_type().await,
            21..=22 => {
                if let (Some(handle), Some(saga)) = (self.handle(), self.some_saga()) {
                    tokio::spawn(async move { handle.ask_again(saga).await });
                }
            }
            23..=27 => self.storm(replica),
            _ => {
                let long = if self.dice.one_in(8) { 5_000 } else { 300 };
                tokio::time::sleep(Duration::from_millis(self.dice.below(long).into())).await;
            }
        }
        tokio::time::sleep(Duration::from_millis(self.dice.below(40).into())).await;
    }

    /// Something happens to a host, or to the process on it.
    fn storm(&self, replica: usize) {
        let host = &self.hosts[replica];
        let ms = self.dice.below(6_000);
        match self.dice.below(5) {
            0 => {
                let Some(process) = &self.replicas[replica] else {
                    return;
                };
                self.trace
                    .note(&format!("replica {replica} stands still for {ms} ms"));
                let freezer = process.freezer.clone();
                freezer.freeze();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(ms.into())).await;
                    freezer.thaw();
                });
            }
            1 => {
                self.trace
                    .note(&format!("replica {replica} is cut off from the disk for {ms} ms"));
                host.cut_off_disk(ms);
            }
            2 => {
                self.trace.note(&format!(
                    "replica {replica} is cut off from everybody else for {ms} ms"
                ));
                host.cut_off_participants(ms);
            }
            3 => {
                self.trace.note(&format!("replica {replica} is slow for {ms} ms"));
                host.slow_down(ms);
            }
            _ => {
                let by_ms = i64::from(ms) - 3_000;
                self.trace
                    .note(&format!("the clock of replica {replica} is set by {by_ms} ms"));
                host.step_clock(by_ms);
            }
        }
    }

    /// Tells whether nobody waits for an answer: a start that is on its way makes a saga yet.
    fn all_answered(&self) -> bool {
        let asked = self.starts.iter().map(|asked| &asked.answer);
        let mut answers = asked.chain(self.cancels.iter().chain(&self.waits).map(|(_, answer)| answer));
        answers.all(JoinHandle::is_finished) && self.people.all_answered()
    }

    fn unfinished(&self) -> Vec<SagaId> {
        let disk = self.disk.lock().unwrap();
        let unfinished = disk
            .sagas
            .iter()
            .filter(|(_, stored)| !stored.row.phase.is_ended());
        unfinished.map(|(id, _)| *id).collect()
    }

    async fn run(&mut self) -> Result<(), String> {
        self.boot(0);
        self.boot(1);
        for _ in 0..60 {
            self.act().await;
        }
        // Now everything gets well, but one replica may stay dead.
        self.disk.lock().unwrap().faults = 0;
        *self.services.faults.lock().unwrap() = 0;
        self.trace.note("everything gets well");
        self.hosts.iter().for_each(Host::heal);
        self.replicas
            .iter()
            .flatten()
            .for_each(|process| process.freezer.thaw());
        for step in self.services.steps.lock().unwrap().values_mut() {
            step.mend();
        }
        let survivor = usize::try_from(self.dice.below(2)).unwrap();
        for _ in 0..400 {
            // Whoever learns only now that it was fenced is started again.
            if self.replicas[survivor]
                .as_ref()
                .is_none_or(|p| p.task.is_finished())
            {
                self.boot(survivor);
            }
            for step in self.services.steps.lock().unwrap().values_mut() {
                step.mend();
            }
            self.let_everybody_go();
            // What was asked for last is on its way.
            tokio::time::sleep(Duration::from_millis(250)).await;
            if self.unfinished().is_empty() && self.all_answered() {
                break;
            }
        }
        let unfinished = self.unfinished();
        if !unfinished.is_empty() {
            let disk = self.disk.lock().unwrap();
            let stored: Vec<_> = unfinished.iter().map(|id| &disk.sagas[id]).collect();
            return Err(format!("unfinished after 100 s: {stored:#?}"));
        }
        // Late and repeated requests must change nothing.
        tokio::time::sleep(Duration::from_secs(10)).await;
        self.check_effects()?;
        self.check_answers().await?;
        self.check_rest().await
    }
}
