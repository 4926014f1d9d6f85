//! One saga in memory.

use std::collections::VecDeque;
use std::sync::Arc;

use ids::SagaId;
use saga_core::{
    Due, Event, Input, Millis, Op, OpKey, OpState, Open, Outcome, Payload, Recorded, State, StepError,
};

use super::gates::Waiting;
use super::metrics::{Counted, Series};
use super::traffic::Traffic;
use crate::handle::{Answer, Seen, Snapshot, Until};
use crate::journal::{Entry, Identity, Loaded, NewSaga, Row, Transition};

/// What a saga has been told and has not yet decided on.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) input: Input,
    /// Request and duration of the attempt, where the input is an answer.
    pub(super) request: Option<Payload>,
    pub(super) duration_ms: Option<u32>,
    /// The version that it was decided on; it means nothing on any other.
    pub(super) expected_version: Option<u32>,
    /// Who is answered when what follows from the input is durable.
    pub(super) answer: Option<Answer>,
}

impl Told {
    pub(super) fn plain(input: Input) -> Self {
        Self {
            input,
            request: None,
            duration_ms: None,
            expected_version: None,
            answer: None,
        }
    }

    pub(super) fn is_success_of_a_call(&self) -> bool {
        matches!(
            &self.input,
            Input::Replied {
                outcome: Outcome::Succeeded(_),
                ..
            }
        )
    }
}

/// Somebody who is answered when the write under way is durable.
#[derive(Debug)]
pub(super) struct OnDurable {
    pub(super) answer: Answer,
    /// What was brought is on record, and yet nothing the saga waited for.
    pub(super) given_up: bool,
}

impl OnDurable {
    pub(super) fn seen(answer: Answer) -> Self {
        Self {
            answer,
            given_up: false,
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

/// Version, instant of the latest change, and for each open operation its attempt and when that may start.
#[cfg(debug_assertions)]
pub(super) type Progress = (u32, Millis, Vec<(OpKey, u32, Option<Millis>)>);

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
    /// Calls that wait for a place at their participant, or for its circuit.
    pub(super) waiting: Vec<Waiting>,
    /// When to ask a pending participant again. Not durable: after a restart it is asked at once.
    asks: Vec<(OpKey, Millis)>,
    /// Somebody says that there may be an answer, while calls were in flight that may not have seen it.
    pub(super) hinted: bool,
    pub(super) inbox: VecDeque<Told>,
    pub(super) waiters: Vec<Waiter>,
    /// Answered as soon as the write under way is durable.
    pub(super) on_durable: Vec<OnDurable>,
    /// Earliest entry of this saga on the timer heap.
    pub(super) wake_at: Option<Millis>,
    /// It stands in the queue of those that wait for a place or for the lease.
    pub(super) held: bool,
    /// The operation that a participant called superseded, which made us load the saga again.
    pub(super) superseded: Option<OpKey>,
    /// Which metrics it counts in.
    pub(super) series: Series,
    /// As what it counts; as nothing before it is durable.
    pub(super) counted: Option<Counted>,
}

impl Live {
    pub(super) fn starting(saga: &NewSaga, generation: u64, series: Series) -> Self {
        let identity = Arc::clone(&saga.identity);
        let state = State::start(&identity.plan, &identity.start);
        let row = row(&state);
        let at = identity.start.at;
        Self::new(identity, state, generation, row, (0, at), 0, series)
    }

    /// Rebuilds a saga from its events.
    pub(super) fn loaded(loaded: Loaded, generation: u64, series: Series) -> Self {
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
        Self::new(identity, state, generation, row, (events, at), claims, series)
    }

    fn new(
        identity: Arc<Identity>,
        state: State,
        generation: u64,
        row: Row,
        (events, at): (u32, Millis),
        claims: u32,
        series: Series,
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
            waiting: Vec::new(),
            asks: Vec::new(),
            hinted: false,
            inbox: VecDeque::new(),
            waiters: Vec::new(),
            on_durable: Vec::new(),
            wake_at: None,
            held: false,
            superseded: None,
            series,
            counted: None,
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

    /// Returns the instant of the latest change.
    pub(super) fn changed_at(&self) -> Millis {
        self.at
    }

    pub(super) fn claims(&self) -> u32 {
        self.claims
    }

    pub(super) fn forget_claims(&mut self) {
        self.claims = 0;
    }

    /// Returns the row as the journal has it, or will have it when the write under way is durable.
    pub(super) fn row(&self) -> &Row {
        &self.row
    }

    /// Returns the calls that may go out now, each with the instant since which it may, and when to look again. Those that
    /// wait in a queue already are not among them.
    pub(super) fn ready(&self, now: Millis) -> (Vec<(Due, Millis)>, Option<Millis>) {
        let plan = &self.identity.plan;
        let mut ready = Vec::new();
        let mut later = self.state.alarm_at(plan);
        for due in self.state.due(plan) {
            if self.is_in_flight(due.key) || self.waiting.iter().any(|waiting| waiting.key == due.key) {
                continue;
            }
            let at = due.not_before.into_iter().chain(self.ask_at(due.key)).max();
            match at.filter(|at| *at > now) {
                Some(at) => later = Some(later.map_or(at, |l| l.min(at))),
                None => ready.push((due, at.map_or(self.at, |at| at.max(self.at)))),
            }
        }
        (ready, later)
    }

    pub(super) fn is_open(&self, key: OpKey) -> bool {
        self.state.op(key).is_some_and(|op| op.open().is_some())
    }

    pub(super) fn is_in_flight(&self, key: OpKey) -> bool {
        self.in_flight.iter().any(|flight| flight.key == key)
    }

    /// Returns when a pending operation is asked again.
    pub(super) fn ask_at(&self, key: OpKey) -> Option<Millis> {
        self.asks
            .iter()
            .find(|(asked, _)| *asked == key)
            .map(|(_, at)| *at)
    }

    /// Returns the operations without a final answer; none once the saga has ended.
    pub(super) fn open_operations(&self) -> impl Iterator<Item = (OpKey, &Open)> {
        let runs = if self.state.phase().is_ended() {
            &[]
        } else {
            self.state.runs()
        };
        runs.iter().flat_map(|run| {
            [(Op::Action, &run.action), (Op::Compensation, &run.compensation)]
                .into_iter()
                .filter_map(|(op, state)| {
                    let key = OpKey {
                        step: run.step,
                        index: run.index,
                        op,
                    };
                    Some((key, state.open()?))
                })
        })
    }

    /// Takes out what waits in queues and has come to an end.
    pub(super) fn unwanted(&mut self) -> Vec<Waiting> {
        let state = &self.state;
        let open = |key| state.op(key).is_some_and(|op| op.open().is_some());
        let ended = state.phase().is_ended();
        self.waiting
            .extract_if(.., |waiting| ended || !open(waiting.key))
            .collect()
    }

    pub(super) fn ask_again(&mut self, key: OpKey, at: Millis) {
        self.asks.retain(|(k, _)| *k != key);
        self.asks.push((key, at));
    }

    /// Tells whether nothing happens before an alarm, or before somebody tells the saga something.
    pub(super) fn only_waits(&self) -> bool {
        let idle = self.in_flight.is_empty() && self.waiting.is_empty() && self.inbox.is_empty();
        idle && !self.writing && !self.held
    }

    /// Returns when its pending operations want to be asked; the rest of it goes.
    pub(super) fn into_asks(self) -> Vec<(OpKey, Millis)> {
        self.asks
    }

    pub(super) fn set_asks(&mut self, asks: Vec<(OpKey, Millis)>) {
        self.asks = asks;
    }

    /// Returns what a load must give back of its progress.
    #[cfg(debug_assertions)]
    pub(super) fn progress(&self) -> Progress {
        let open = self.open_operations();
        let attempts = open.map(|(key, open)| (key, open.attempt, open.next_at));
        (self.version(), self.at, attempts.collect())
    }

    /// Makes it small: what it will not need for long is made anew when it does, or grows again.
    pub(super) fn shrink(&mut self) {
        // Somebody who is being shown the saga may hold it, too; then it is not worth waiting for.
        if let Some(identity) = Arc::get_mut(&mut self.identity) {
            identity.input.forget_decoded();
        }
        self.state.forget_decoded();
        self.in_flight.shrink_to_fit();
        self.waiting.shrink_to_fit();
        self.asks.shrink_to_fit();
        self.inbox.shrink_to_fit();
        self.waiters.shrink_to_fit();
        self.on_durable.shrink_to_fit();
    }

    /// Lets pending operations be asked at once: this one, or all.
    pub(super) fn ask_now(&mut self, key: Option<OpKey>) {
        self.asks
            .retain(|(asked, _)| key.is_some_and(|key| key != *asked));
    }

    /// Lets everything that is pending be asked at once, and once more what is being asked.
    pub(super) fn hint(&mut self) {
        self.ask_now(None);
        self.hinted = !self.in_flight.is_empty();
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
    pub(super) fn version(&self) -> u32 {
        self.events
            .saturating_add(u32::from(self.state.phase().is_ended()))
    }

    pub(super) fn seen(&self, created: bool, reached: bool, traffic: &Traffic) -> Seen {
        Seen {
            saga: self.id(),
            created,
            reached,
            snapshot: Some(Box::new(Snapshot {
                identity: Arc::clone(&self.identity),
                state: self.state.clone(),
                events: self.events,
                at: self.at,
                waits: traffic.waits(self),
            })),
        }
    }

    /// Answers everybody whose condition holds, now that the state is durable, and forgets those who left.
    pub(super) fn answer_waiters(&mut self, traffic: &Traffic) {
        if self.waiters.is_empty() {
            return;
        }
        let ended = self.state.phase().is_ended();
        let mut kept = Vec::new();
        for waiter in std::mem::take(&mut self.waiters) {
            let reached = self.reached(waiter.until);
            if reached || ended {
                // Whoever waited may have gone; that is no failure.
                let _ = waiter.answer.send(Ok(self.seen(false, reached, traffic)));
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
