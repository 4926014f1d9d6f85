//! The engine's task: owns every live saga of the instance.

mod breaker;
mod calls;
mod config;
mod decide;
mod dispatch;
mod gates;
mod housekeeping;
mod lanes;
mod live;
mod metrics;
mod notes;
mod passive;
mod recovery;
mod requests;
mod soundness;
mod stop;
mod suspects;
mod timers;
mod traffic;

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use ids::SagaId;
use saga_core::Millis;
use tokio::sync::mpsc;

use crate::handle::{Answer, Handle, Request, RequestError, Seen};
use crate::journal::{Beat, Fate, Journal, JournalError, Loaded, Noted, Transition};
use crate::participants::{Clock, Participants};
use decide::{Decided, decide};
use lanes::Lanes;
use live::Live;
use metrics::Metrics;
use passive::Passive;
use recovery::Recovery;
use timers::Timers;
use traffic::Traffic;

pub use breaker::{BreakerConfig, Circuit};
pub use config::Config;

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
        result: Result<Beat, JournalError>,
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
    Noted {
        note: notes::Note,
        result: Result<Noted, JournalError>,
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
    /// Boxed: the table has room for more than are in it.
    live: HashMap<SagaId, Box<Live>>,
    passive: Passive,
    lanes: Lanes,
    timers: Timers,
    recovery: Recovery,
    work: FuturesUnordered<Work>,
    traffic: Traffic,
    metrics: Metrics,
    /// Writes about sagas under way that are not transitions.
    notes: usize,
    /// Sagas with a call that waits for a place or for the lease.
    held: VecDeque<SagaId>,
    /// Whose turn it is when a place is free.
    held_first: bool,
    generation: u64,
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
        let traffic = Traffic::new(&config, participants.participants());
        let engine = Self {
            lanes: Lanes::new(config.lanes, config.max_batch),
            metrics: Metrics::new(traffic.gates.status()),
            traffic,
            config,
            journal,
            participants,
            clock,
            requests,
            live: HashMap::new(),
            passive: Passive::default(),
            timers: Timers::default(),
            recovery: Recovery::default(),
            work: FuturesUnordered::new(),
            notes: 0,
            held: VecDeque::new(),
            held_first: false,
            generation: 0,
            fenced: false,
        };
        (Handle { requests: sender }, engine)
    }

    /// Drives sagas until `shutdown` resolves and calls in flight have ended (bounded by `config.drain`), then gives the
    /// lease up so that others can go on at once.
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
                    || (self.traffic.calls == 0 && self.notes == 0 && self.lanes.idle()))
            {
                return self.resign().await;
            }
            let alarm = self.next_alarm().into_iter().chain(drained_at).min();
            tokio::select! {
                biased;
                () = &mut shutdown, if drained_at.is_none() => {
                    self.traffic.stopping = true;
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
            self.tidy();
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
            Done::Noted { note, result } => self.noted(note, result),
            Done::Parked { saga, why, result } => self.parked(saga, why, result),
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
            match decide(live, &self.traffic, now, jitter, told) {
                Decided::Nothing => {}
                Decided::Write(transition) => {
                    live.writing = true;
                    self.lanes.queue(*transition);
                    return self.leave_queues(saga);
                }
                Decided::Panicked(why) => return self.park(saga, format!("deciding panicked: {why}")),
            }
        }
        self.dispatch(saga);
    }

    /// Takes a saga out of memory. Whoever does so says what becomes of it in the books.
    fn remove(&mut self, saga: SagaId) -> Option<Box<Live>> {
        let mut live = self.live.remove(&saga)?;
        for waiting in live.waiting.drain(..) {
            self.traffic.gates.left_queue(waiting);
            self.show_gate(waiting.participant);
        }
        Some(live)
    }

    /// Drops what queues and timers hold of sagas that have gone.
    fn tidy(&mut self) {
        self.timers.tidy(&self.live, &self.passive);
        let live = &self.live;
        self.traffic.gates.tidy(|ticket| {
            let saga = live.get(&ticket.saga);
            saga.is_some_and(|saga| saga.waiting.iter().any(|waiting| waiting.ticket == ticket.number))
        });
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
