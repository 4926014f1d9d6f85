//! The engine's task: owns every live saga of the instance.

mod calls;
mod decide;
mod lanes;
mod live;
mod recovery;
mod suspects;
mod timers;

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ids::SagaId;
use saga_core::{Input, Millis};
use tokio::sync::mpsc;

use crate::handle::{Answer, Handle, Request, RequestError, Seen, Status, Until};
use crate::journal::{Fate, Journal, JournalError, Loaded, NewSaga, Transition};
use crate::participants::{Clock, Participants};
use decide::{Decided, decide};
use lanes::Lanes;
use live::{Live, Told, Waiter};
use recovery::Recovery;
use timers::Timers;

/// Settings of an engine. Every queue and pool has a bound here.
#[derive(Debug, Clone)]
pub struct Config {
    /// Writers of the journal, 1 to 16. One saga stays on one.
    pub lanes: usize,
    /// Most transitions in one batch.
    pub max_batch: usize,
    /// Most sagas in memory; above it `start` answers `Overloaded`.
    pub max_live: usize,
    /// Most calls in flight; above it sagas wait for a place.
    pub max_calls: usize,
    /// Most requests waiting for the engine.
    pub max_requests: usize,
    /// Time between renewals of the lease.
    pub heartbeat: Duration,
    /// How long the lease lasts. While it is not held no call goes out.
    pub lease: Duration,
    /// Time between looks for instances that died.
    pub takeover_scan: Duration,
    /// Sagas loaded at a time.
    pub load_chunk: usize,
    /// Longest wait for calls in flight when the engine is told to stop.
    pub drain: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lanes: 2,
            max_batch: 512,
            max_live: 200_000,
            max_calls: 4_096,
            max_requests: 8_192,
            heartbeat: Duration::from_secs(1),
            lease: Duration::from_secs(5),
            takeover_scan: Duration::from_secs(1),
            load_chunk: 500,
            drain: Duration::from_secs(10),
        }
    }
}

/// Why an engine stopped before it was told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// Another process has this instance's sagas now. The process must exit: nothing it knows is true any more.
    #[error("this instance was taken over by another; it must exit")]
    Fenced,
}

/// Something that was under way has ended.
enum Done {
    Call(Box<calls::CallDone>),
    Appended {
        lane: usize,
        batch: Vec<Transition>,
        result: Result<Vec<Fate>, JournalError>,
    },
    Beat {
        began: Millis,
        result: Result<(), JournalError>,
    },
    Loaded {
        purpose: recovery::Purpose,
        result: Result<Vec<Loaded>, JournalError>,
    },
    Owned {
        result: Result<Vec<(SagaId, u32)>, JournalError>,
    },
    TakenOver {
        result: Result<Vec<SagaId>, JournalError>,
    },
    Survived {
        generation: u64,
    },
    Watched {
        round: u64,
    },
    Forgiven {
        result: Result<(), JournalError>,
    },
    Parked {
        saga: SagaId,
        why: String,
        result: Result<(), JournalError>,
    },
}

type Work = Pin<Box<dyn Future<Output = Done> + Send>>;

/// Drives the sagas of one instance.
pub struct Engine<J, P, C> {
    config: Config,
    journal: Arc<J>,
    participants: Arc<P>,
    clock: Arc<C>,
    requests: mpsc::Receiver<Request>,
    live: HashMap<SagaId, Live>,
    lanes: Lanes,
    timers: Timers,
    recovery: Recovery,
    work: FuturesUnordered<Work>,
    calls_in_flight: usize,
    /// Writes about sagas under way that are not transitions.
    notes: usize,
    /// Sagas with a call that waits for a place or for the lease.
    held: VecDeque<SagaId>,
    lease_until: Millis,
    generation: u64,
    stopping: bool,
    fenced: bool,
}

impl<J, P, C> std::fmt::Debug for Engine<J, P, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("config", &self.config)
            .field("live", &self.live.len())
            .finish()
    }
}

impl<J: Journal, P: Participants, C: Clock> Engine<J, P, C> {
    /// Makes an engine and the handle to it. Nothing happens before [`Engine::run`].
    #[must_use]
    pub fn new(mut config: Config, journal: Arc<J>, participants: Arc<P>, clock: Arc<C>) -> (Handle, Self) {
        config.load_chunk = config.load_chunk.max(1);
        let (sender, requests) = mpsc::channel(config.max_requests.max(1));
        let engine = Self {
            lanes: Lanes::new(config.lanes, config.max_batch),
            lease_until: clock.now().plus(millis(config.lease)),
            config,
            journal,
            participants,
            clock,
            requests,
            live: HashMap::new(),
            timers: Timers::default(),
            recovery: Recovery::default(),
            work: FuturesUnordered::new(),
            calls_in_flight: 0,
            notes: 0,
            held: VecDeque::new(),
            generation: 0,
            stopping: false,
            fenced: false,
        };
        (Handle { requests: sender }, engine)
    }

    /// Drives sagas until `shutdown` resolves and calls in flight have ended (bounded by `config.drain`).
    ///
    /// # Errors
    /// [`Stopped::Fenced`] if another process took this instance's place.
    pub async fn run(mut self, shutdown: impl Future<Output = ()> + Send) -> Result<(), Stopped> {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut drained_at: Option<Millis> = None;
        let clock = Arc::clone(&self.clock);
        self.start_housekeeping();
        while !self.fenced {
            if let Some(until) = drained_at
                && (self.clock.now() >= until
                    || (self.calls_in_flight == 0 && self.notes == 0 && self.lanes.idle()))
            {
                return Ok(());
            }
            let alarm = self.timers.next().into_iter().chain(drained_at).min();
            tokio::select! {
                biased;
                () = &mut shutdown, if drained_at.is_none() => {
                    self.stopping = true;
                    self.requests.close();
                    // Nobody's fault that the process ends.
                    self.forgive_all(self.generation);
                    drained_at = Some(self.clock.now().plus(millis(self.config.drain)));
                }
                Some(done) = self.work.next(), if !self.work.is_empty() => {
                    self.done(done);
                    self.more_done().await;
                }
                Some(request) = self.requests.recv() => {
                    self.request(request);
                    self.more_requests();
                }
                () = sleep(&*clock, alarm), if alarm.is_some() => self.fire_timers(),
            }
            self.timers.tidy(&self.live);
            self.write_batches();
        }
        Err(Stopped::Fenced)
    }

    /// Handles everything else that has ended already, so that it shares one batch.
    async fn more_done(&mut self) {
        for _ in 0..self.config.max_batch {
            if self.fenced {
                return;
            }
            let ready = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(match self.work.poll_next_unpin(cx) {
                    std::task::Poll::Ready(done) => done,
                    std::task::Poll::Pending => None,
                })
            });
            let Some(done) = ready.await else { return };
            self.done(done);
        }
    }

    fn more_requests(&mut self) {
        for _ in 0..self.config.max_batch {
            let Ok(request) = self.requests.try_recv() else {
                return;
            };
            self.request(request);
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Call(done) => self.call_done(*done),
            Done::Appended { lane, batch, result } => self.appended(lane, batch, result),
            Done::Beat { began, result } => self.beat_done(began, result),
            Done::Loaded { purpose, result } => self.loaded(purpose, result),
            Done::Owned { result } => self.owned(result),
            Done::TakenOver { result } => self.taken_over(result),
            Done::Survived { generation } => self.survived(generation),
            Done::Watched { round } => self.watched(round),
            Done::Forgiven { result } => self.forgiven(result),
            Done::Parked { saga, why, result } => self.parked(saga, why, result),
        }
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Start { saga, durable, wait } => self.start(*saga, durable, wait),
            Request::Wait { saga, until, answer } => self.wait(saga, until, answer),
            Request::Cancel {
                saga,
                actor,
                note,
                answer,
            } => match self.live.get_mut(&saga) {
                None => refuse(answer, RequestError::NotHere),
                Some(live) => {
                    let input = Input::Cancel { actor, note };
                    live.inbox.push_back(Told {
                        answer: Some(answer),
                        ..Told::plain(input)
                    });
                    self.pump(saga);
                }
            },
            Request::Status { answer } => {
                let status = Status {
                    live: self.live.len(),
                    calls: self.calls_in_flight,
                    alarms: self.timers.len(),
                    leased: self.leased(self.clock.now()),
                };
                // Whoever asked may have gone.
                let _ = answer.send(status);
            }
        }
    }

    fn start(&mut self, saga: NewSaga, durable: Answer, wait: Option<(Until, Answer)>) {
        if self.stopping {
            return refuse(durable, RequestError::Stopped);
        }
        if self.live.len() + self.recovery.reloading() >= self.config.max_live {
            return refuse(durable, RequestError::Overloaded);
        }
        let id = saga.identity.id;
        if self.live.contains_key(&id) {
            return refuse(
                durable,
                RequestError::Unwritable("the saga id is taken".to_owned()),
            );
        }
        self.generation += 1;
        let mut live = Live::starting(&saga, self.generation);
        live.on_durable.push(durable);
        live.waiters
            .extend(wait.map(|(until, answer)| Waiter { until, answer }));
        live.writing = true;
        let creation = live.creation(saga);
        self.live.insert(id, live);
        self.lanes.queue(creation);
    }

    fn wait(&mut self, saga: SagaId, until: Until, answer: Answer) {
        match self.live.get_mut(&saga) {
            Some(live) => {
                live.waiters.push(Waiter { until, answer });
                if !live.writing {
                    live.answer_waiters();
                }
            }
            None if self.recovery.is_reloading(saga) => self.recovery.wait(saga, Waiter { until, answer }),
            None => refuse(answer, RequestError::NotHere),
        }
    }

    /// Decides on what a saga was told, one input at a time, until there is something to write or nothing left.
    fn pump(&mut self, saga: SagaId) {
        let now = self.clock.now();
        loop {
            let Some(live) = self.live.get_mut(&saga) else {
                return;
            };
            if live.writing {
                return;
            }
            let Some(told) = live.inbox.pop_front() else { break };
            let jitter = self.clock.jitter();
            match decide(live, now, jitter, told) {
                Decided::Nothing => {}
                Decided::Write(transition) => {
                    live.writing = true;
                    self.lanes.queue(*transition);
                    return;
                }
                Decided::Panicked(why) => return self.park(saga, format!("deciding panicked: {why}")),
            }
        }
        self.dispatch(saga);
    }

    /// Sends what is due of a durable state, and sets the alarm for the rest.
    fn dispatch(&mut self, saga: SagaId) {
        let now = self.clock.now();
        let leased = self.leased(now);
        let Some(live) = self.live.get_mut(&saga) else {
            return;
        };
        if live.writing {
            return;
        }
        live.answer_waiters();
        let looked = catch_unwind(AssertUnwindSafe(|| live.ready(now)));
        let (ready, later) = match looked {
            Ok(found) => found,
            Err(panic) => return self.park(saga, panic_text(&*panic)),
        };
        for due in ready {
            let free = leased && self.calls_in_flight < self.config.max_calls;
            let Some(live) = self.live.get_mut(&saga) else {
                return;
            };
            if self.stopping || !free {
                if !self.stopping && !live.held {
                    live.held = true;
                    self.held.push_back(saga);
                }
                break;
            }
            let made = catch_unwind(AssertUnwindSafe(|| {
                let call = calls::call(live, due, self.journal.epoch());
                calls::make(&self.participants, &self.clock, live.generation, call)
            }));
            match made {
                Ok(work) => self.work.push(work),
                Err(panic) => return self.park(saga, panic_text(&*panic)),
            }
            live.in_flight.push(live::InFlight {
                key: due.key,
                attempt: due.attempt,
            });
            self.calls_in_flight += 1;
        }
        if let (Some(at), Some(live)) = (later, self.live.get_mut(&saga)) {
            self.timers.set(live, at);
        }
    }

    /// Gives sagas that waited for a place or for the lease another look.
    fn release_held(&mut self) {
        let now = self.clock.now();
        let mut looks = self.held.len();
        while looks > 0 && self.leased(now) && self.calls_in_flight < self.config.max_calls {
            looks -= 1;
            let Some(saga) = self.held.pop_front() else { return };
            if let Some(live) = self.live.get_mut(&saga) {
                live.held = false;
                self.dispatch(saga);
            }
        }
    }

    fn fire_timers(&mut self) {
        let now = self.clock.now();
        while let Some((at, saga)) = self.timers.pop(now) {
            let Some(live) = self.live.get_mut(&saga).filter(|live| live.wake_at == Some(at)) else {
                continue;
            };
            live.wake_at = None;
            let alarm = live.state.alarm_at(&live.identity.plan);
            if alarm.is_some_and(|at| at <= now) {
                live.inbox.push_back(Told::plain(Input::Tick));
            }
            self.pump(saga);
        }
        if !self.leased(now) || self.calls_in_flight >= self.config.max_calls {
            return;
        }
        self.release_held();
    }

    fn leased(&self, now: Millis) -> bool {
        now < self.lease_until
    }

    /// Tells whether a journal operation went well; a fenced one stops the engine.
    fn journal_ok<T>(&mut self, result: Result<T, JournalError>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(JournalError::Fenced) => {
                tracing::error!("fenced: another process has this instance's sagas; stopping");
                self.fenced = true;
                None
            }
            Err(JournalError::Unknown(source)) => {
                tracing::warn!(error = %source, "the journal did not answer");
                None
            }
        }
    }
}

fn refuse(answer: Answer, error: RequestError) {
    // Whoever asked may have gone.
    let _ = answer.send(Err(error));
}

fn seen_elsewhere(saga: SagaId) -> Seen {
    Seen {
        saga,
        created: false,
        reached: false,
        snapshot: None,
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a text".to_owned())
}

async fn sleep<C: Clock>(clock: &C, at: Option<Millis>) {
    match at {
        Some(at) => clock.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
