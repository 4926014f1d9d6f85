//! One saga in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use ids::SagaId;
use saga_core::{Due, Event, Input, Millis, Op, OpKey, OpState, Payload, Recorded, State, StepError};

use crate::handle::{Answer, Seen, Snapshot, Until};
use crate::journal::{Entry, Identity, Loaded, NewSaga, Row, Transition};

/// What a saga has been told and has not yet decided on.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) input: Input,
    /// Request and duration of the attempt, where the input is an answer.
    pub(super) request: Option<Payload>,
    pub(super) duration_ms: Option<u32>,
    /// Who is answered when what follows from the input is durable.
    pub(super) answer: Option<Answer>,
}

impl Told {
    pub(super) fn plain(input: Input) -> Self {
        Self {
            input,
            request: None,
            duration_ms: None,
            answer: None,
        }
    }
}

/// Somebody who waits for a saga.
#[derive(Debug)]
pub(super) struct Waiter {
    pub(super) until: Until,
    pub(super) answer: Answer,
}

/// A call in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InFlight {
    pub(super) key: OpKey,
    pub(super) attempt: u32,
}

/// One saga in memory. Its state may be ahead of the journal only while `writing`.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) identity: Arc<Identity>,
    pub(super) state: State,
    /// Tells calls of this life from calls of an earlier one, before the saga was loaded again.
    pub(super) generation: u64,
    row: Row,
    events: u32,
    /// Instant of the latest change.
    at: Millis,
    claims: u32,
    pub(super) writing: bool,
    pub(super) in_flight: Vec<InFlight>,
    /// When to ask a pending participant again. Not durable: after a restart it is asked at once.
    asks: Vec<(OpKey, Millis)>,
    pub(super) inbox: VecDeque<Told>,
    pub(super) waiters: Vec<Waiter>,
    /// Answered as soon as the write under way is durable.
    pub(super) on_durable: Vec<Answer>,
    /// Earliest entry of this saga on the timer heap.
    pub(super) wake_at: Option<Millis>,
    /// It stands in the queue of those that wait for a place or for the lease.
    pub(super) held: bool,
    /// The operation that a participant called superseded, which made us load the saga again.
    pub(super) superseded: Option<OpKey>,
}

impl Live {
    pub(super) fn starting(saga: &NewSaga, generation: u64) -> Self {
        let identity = Arc::clone(&saga.identity);
        let state = State::start(&identity.plan, &identity.start);
        let row = row(&state);
        let at = identity.start.at;
        Self::new(identity, state, generation, row, 0, at, 0)
    }

    /// Rebuilds a saga from its events.
    pub(super) fn loaded(loaded: Loaded, generation: u64) -> Self {
        let Loaded {
            identity,
            events,
            row,
            claims,
            ..
        } = loaded;
        let mut state = State::start(&identity.plan, &identity.start);
        for recorded in &events {
            state.apply(&identity.plan, recorded);
        }
        state.recovered();
        let at = events.last().map_or(identity.start.at, |last| last.at);
        let events = u32::try_from(events.len()).unwrap_or(u32::MAX);
        Self::new(identity, state, generation, row, events, at, claims)
    }

    fn new(
        identity: Arc<Identity>,
        state: State,
        generation: u64,
        row: Row,
        events: u32,
        at: Millis,
        claims: u32,
    ) -> Self {
        Self {
            identity,
            state,
            generation,
            row,
            events,
            at,
            claims,
            writing: false,
            in_flight: Vec::new(),
            asks: Vec::new(),
            inbox: VecDeque::new(),
            waiters: Vec::new(),
            on_durable: Vec::new(),
            wake_at: None,
            held: false,
            superseded: None,
        }
    }

    pub(super) fn id(&self) -> SagaId {
        self.identity.id
    }

    /// Returns the transition that creates the saga.
    pub(super) fn creation(&self, saga: NewSaga) -> Transition {
        Transition {
            identity: Arc::clone(&self.identity),
            at: saga.identity.start.at,
            start: Some(saga),
            first_seq: 0,
            entries: Vec::new(),
            row: Some(self.row.clone()),
            progressed: false,
        }
    }

    /// Returns the transition that makes `recorded` durable, and counts its events.
    pub(super) fn transition(
        &mut self,
        at: Millis,
        recorded: Vec<Recorded>,
        request: Option<Payload>,
        duration_ms: Option<u32>,
    ) -> Transition {
        let first_seq = self.events;
        self.at = at;
        let mut of_attempt = Some((request, duration_ms));
        let entries: Vec<Entry> = recorded
            .into_iter()
            .filter(|r| !matches!(r.event, Event::Ended { .. }))
            .map(|recorded| {
                // The first event of a transition is the one that ended the attempt.
                let (request, duration_ms) = of_attempt.take().unwrap_or_default();
                Entry {
                    recorded,
                    request,
                    duration_ms,
                }
            })
            .collect();
        self.events = first_seq.saturating_add(u32::try_from(entries.len()).unwrap_or(u32::MAX));
        let row = row(&self.state);
        let changed = row != self.row;
        if changed {
            self.row = row.clone();
        }
        let progressed = std::mem::take(&mut self.claims) > 0;
        Transition {
            identity: Arc::clone(&self.identity),
            start: None,
            first_seq,
            entries,
            row: changed.then_some(row),
            at,
            progressed,
        }
    }

    pub(super) fn claims(&self) -> u32 {
        self.claims
    }

    pub(super) fn forget_claims(&mut self) {
        self.claims = 0;
    }

    /// Returns the calls that may go out now, and when to look again.
    pub(super) fn ready(&self, now: Millis) -> (Vec<Due>, Option<Millis>) {
        let plan = &self.identity.plan;
        let mut ready = Vec::new();
        let mut later = self.state.alarm_at(plan);
        for due in self.state.due(plan) {
            if self.in_flight.iter().any(|flight| flight.key == due.key) {
                continue;
            }
            let ask_at = self
                .asks
                .iter()
                .find(|(key, _)| *key == due.key)
                .map(|(_, at)| *at);
            match due
                .not_before
                .into_iter()
                .chain(ask_at)
                .max()
                .filter(|at| *at > now)
            {
                Some(at) => later = Some(later.map_or(at, |l| l.min(at))),
                None => ready.push(due),
            }
        }
        (ready, later)
    }

    pub(super) fn ask_again(&mut self, key: OpKey, at: Millis) {
        self.asks.retain(|(k, _)| *k != key);
        self.asks.push((key, at));
    }

    /// Forgets when to ask operations that have come to an end.
    pub(super) fn forget_asks(&mut self) {
        let state = &self.state;
        self.asks
            .retain(|(key, _)| state.op(*key).is_some_and(|op| op.open().is_some()));
    }

    /// Returns the actions in flight other than `except`.
    pub(super) fn actions_in_flight(&self, except: Option<OpKey>) -> Vec<OpKey> {
        let keys = self.in_flight.iter().map(|flight| flight.key);
        keys.filter(|key| key.op == Op::Action && Some(*key) != except)
            .collect()
    }

    /// Returns the replies of all steps, for mappings.
    pub(super) fn replies(&self) -> Arc<[Option<Payload>]> {
        let steps = self.identity.plan.steps().len();
        (0..steps)
            .map(|i| u16::try_from(i).ok().and_then(|i| self.state.reply(i).cloned()))
            .collect()
    }

    pub(super) fn failed_step(&self) -> String {
        self.state
            .failed_step()
            .map(|s| self.identity.plan.name(s).to_owned())
            .unwrap_or_default()
    }

    pub(super) fn error(&self) -> Option<StepError> {
        self.state.error().cloned()
    }

    fn reached(&self, until: Until) -> bool {
        match until {
            Until::Durable => true,
            Until::End => self.state.phase().is_ended(),
            Until::NewerThan(known) => self.version() > known,
            Until::Step(step) => {
                let key = OpKey {
                    step,
                    index: 0,
                    op: Op::Action,
                };
                self.state.phase() != saga_core::Phase::Running
                    || self.state.op(key).is_none_or(|op| match op {
                        OpState::Succeeded(_)
                        | OpState::Refused(_)
                        | OpState::Abandoned
                        | OpState::Skipped => true,
                        OpState::NotStarted | OpState::Open(_) => false,
                    })
            }
        }
    }

    /// Returns a number that rises with every recorded change, the end included.
    fn version(&self) -> u32 {
        self.events
            .saturating_add(u32::from(self.state.phase().is_ended()))
    }

    pub(super) fn seen(&self, created: bool, reached: bool) -> Seen {
        Seen {
            saga: self.id(),
            created,
            reached,
            snapshot: Some(Box::new(Snapshot {
                identity: Arc::clone(&self.identity),
                state: self.state.clone(),
                events: self.events,
                at: self.at,
            })),
        }
    }

    /// Answers everybody whose condition holds, now that the state is durable, and forgets those who left.
    pub(super) fn answer_waiters(&mut self) {
        let ended = self.state.phase().is_ended();
        let mut kept = Vec::new();
        for waiter in std::mem::take(&mut self.waiters) {
            let reached = self.reached(waiter.until);
            if reached || ended {
                // Whoever waited may have gone; that is no failure.
                let _ = waiter.answer.send(Ok(self.seen(false, reached)));
            } else if !waiter.answer.is_closed() {
                kept.push(waiter);
            }
        }
        self.waiters = kept;
    }
}

fn row(state: &State) -> Row {
    Row {
        phase: state.phase(),
        reason: state.reason(),
        failed_step: state.failed_step(),
        error: state.error().cloned(),
        committed: state.committed(),
        clock: state.clock(),
        attention: state.attention().collect(),
    }
}
