//! A saga told as a story: `Saga::of(&[work("A"), pivot("P")]).succeed("A").cancel()`.
//!
//! `"A"` names the action of step A, `"~A"` its compensation. Every accepted input is checked against the
//! invariants, and against a replay of what was recorded.

mod people;
mod steps;

use saga_core::{
    Attention, Backoff, Cause, Context, Event, FailureClass, Input, Millis, Op, OpKey, Open, Outcome,
    Payload, Phase, Plan, Reason, Recorded, Rejected, Start, State, StepError, invariants,
};

pub(crate) use steps::{Step, onward, person, pivot, plan_of, work};

pub(crate) const T0: Millis = Millis(1_000_000);
pub(crate) const TIMEOUT_MS: u64 = 5_000;
pub(crate) const DEADLINE_MS: u64 = 300_000;
pub(crate) const EXPIRES_MS: u64 = 1_800_000;
pub(crate) const ATTENTION_WAIT_MS: u64 = 60_000;
pub(crate) const BACKOFF: Backoff = Backoff {
    retries: 3,
    initial_ms: 100,
    factor: 2.0,
    max_ms: 1_000,
};

pub(crate) fn error(message: &str) -> StepError {
    StepError {
        code: "FAILED_PRECONDITION".into(),
        reason: "NO".into(),
        domain: "test".into(),
        message: message.into(),
    }
}

/// A saga under test.
#[derive(Clone)]
pub(crate) struct Saga {
    pub(crate) plan: Plan,
    start: Start,
    pub(crate) state: State,
    pub(crate) now: Millis,
    /// What was recorded, one entry a transition.
    pub(crate) transitions: Vec<Vec<Recorded>>,
    in_flight: Vec<OpKey>,
    jitter: u32,
}

impl Saga {
    pub(crate) fn of(steps: &[Step]) -> Self {
        Self::with(plan_of(steps, None).unwrap())
    }

    pub(crate) fn with_epilogue(steps: &[Step], epilogue: &str) -> Self {
        Self::with(plan_of(steps, Some(epilogue)).unwrap())
    }

    pub(crate) fn with(plan: Plan) -> Self {
        let expires_ms = plan
            .steps()
            .iter()
            .map(|s| s.expires.then_some(EXPIRES_MS))
            .collect();
        let start = Start {
            at: T0,
            deadline_ms: DEADLINE_MS,
            expires_ms,
        };
        let saga = Self {
            state: State::start(&plan, &start),
            plan,
            start,
            now: T0,
            transitions: Vec::new(),
            in_flight: Vec::new(),
            jitter: 0,
        };
        saga.check();
        saga
    }

    fn check(&self) {
        assert_eq!(invariants::broken_at_rest(&self.plan, &self.state), None);
        let mut live = self.state.clone();
        let mut replayed = self.replay(self.transitions.len());
        live.recovered();
        replayed.recovered();
        assert_eq!(live, replayed, "a replay gives another state");
    }

    pub(crate) fn replay(&self, transitions: usize) -> State {
        let mut state = State::start(&self.plan, &self.start);
        for recorded in self.transitions[..transitions].iter().flatten() {
            state.apply(&self.plan, recorded);
        }
        state
    }

    /// The process dies; another one loads what was recorded.
    pub(crate) fn crash(mut self) -> Self {
        self.state = self.replay(self.transitions.len());
        self.state.recovered();
        self.in_flight.clear();
        self
    }

    pub(crate) fn key(&self, name: &str) -> OpKey {
        let (op, step) = match name.strip_prefix('~') {
            Some(step) => (Op::Compensation, step),
            None => (Op::Action, name),
        };
        let epilogue = self.plan.epilogue().filter(|e| &*e.name == step);
        OpKey {
            step: epilogue.map_or_else(
                || self.plan.position(step).unwrap(),
                |_| self.plan.epilogue_step(),
            ),
            index: 0,
            op,
        }
    }

    pub(crate) fn name(&self, key: OpKey) -> String {
        match key.op {
            Op::Action => self.plan.name(key.step).to_owned(),
            Op::Compensation => format!("~{}", self.plan.name(key.step)),
        }
    }

    pub(crate) fn try_handle(&mut self, input: Input) -> Result<(), Rejected> {
        let in_flight = self.in_flight.clone();
        let context = Context {
            at: self.now,
            jitter: self.jitter,
            in_flight: &in_flight,
        };
        let events = self.state.handle(&self.plan, context, input)?;
        if !events.is_empty() {
            self.transitions.push(events);
        }
        self.check();
        Ok(())
    }

    fn handle(mut self, input: Input) -> Self {
        self.try_handle(input).unwrap();
        self
    }

    pub(crate) fn try_answer(&mut self, name: &str, attempt: u32, outcome: Outcome) -> Result<(), Rejected> {
        let key = self.key(name);
        self.in_flight.retain(|k| *k != key);
        self.try_handle(Input::Replied {
            key,
            attempt,
            outcome,
        })
    }

    pub(crate) fn answer(mut self, name: &str, outcome: Outcome) -> Self {
        let attempt = self.open(name).attempt;
        self.try_answer(name, attempt, outcome).unwrap();
        self
    }

    pub(crate) fn succeed(self, name: &str) -> Self {
        let reply = Payload::new(format!("\"{name}\""));
        self.answer(name, Outcome::Succeeded(reply))
    }

    /// A "no" without the barrier's mark.
    pub(crate) fn refuse(self, name: &str) -> Self {
        let error = error("no");
        self.answer(name, Outcome::Refused { error, stored: false })
    }

    pub(crate) fn refuse_stored(self, name: &str) -> Self {
        let error = error("no, stored");
        self.answer(name, Outcome::Refused { error, stored: true })
    }

    pub(crate) fn pending(self, name: &str) -> Self {
        self.answer(name, Outcome::Pending)
    }

    /// The condition does not hold.
    pub(crate) fn left_out(self, name: &str) -> Self {
        self.answer(name, Outcome::Skipped)
    }

    /// The probe says so.
    pub(crate) fn not_seen(self, name: &str) -> Self {
        self.answer(name, Outcome::NotSeen)
    }

    pub(crate) fn fail(self, name: &str) -> Self {
        self.fail_as(name, FailureClass::Unknown)
    }

    pub(crate) fn fail_as(self, name: &str, class: FailureClass) -> Self {
        let error = error(class.name());
        self.answer(name, Outcome::Failed { class, error })
    }

    pub(crate) fn fail_times(self, name: &str, class: FailureClass, times: u32) -> Self {
        (0..times).fold(self, |saga, _| saga.fail_as(name, class))
    }

    pub(crate) fn try_cancel(&mut self) -> Result<(), Rejected> {
        self.try_handle(Input::Cancel {
            actor: "ann".into(),
            note: error("changed my mind"),
        })
    }

    pub(crate) fn cancel(mut self) -> Self {
        self.try_cancel().unwrap();
        self
    }

    /// These calls are out; an answer takes them off.
    pub(crate) fn in_flight(mut self, names: &[&str]) -> Self {
        self.in_flight = names.iter().map(|n| self.key(n)).collect();
        self
    }

    /// Time passes, and nobody looks.
    pub(crate) fn wait(mut self, ms: u64) -> Self {
        self.now = self.now.plus(ms);
        self
    }

    /// Time passes, and the engine looks.
    pub(crate) fn pass(self, ms: u64) -> Self {
        self.wait(ms).handle(Input::Tick)
    }

    /// Answers every call with success, and looks when the alarm rings, until the saga has ended.
    pub(crate) fn finish(mut self) -> Self {
        // An action and a compensation a step, an alarm each, the epilogue, and the end of a pause.
        let bound = 4 * self.plan.steps().len() + 5;
        for _ in 0..bound {
            if self.state.phase().is_ended() {
                return self;
            }
            if self.state.paused().is_some() {
                self = self.resume();
                continue;
            }
            let due = self.state.due(&self.plan).next();
            self = match (due, self.state.alarm_at(&self.plan)) {
                (Some(due), _) => {
                    self.now = self.now.max(due.not_before.unwrap_or(self.now));
                    let name = self.name(due.key);
                    self.succeed(&name)
                }
                (None, Some(at)) => {
                    self.now = self.now.max(at);
                    self.pass(0)
                }
                (None, None) => panic!("stuck: {:#?}", self.state),
            };
        }
        panic!("not ended after {bound} steps: {:#?}", self.state);
    }

    pub(crate) fn jitter(mut self, jitter: u32) -> Self {
        self.jitter = jitter;
        self
    }

    pub(crate) fn open(&self, name: &str) -> &Open {
        let op = self.state.op(self.key(name)).unwrap();
        op.open().unwrap_or_else(|| panic!("{name} is not open: {op:?}"))
    }

    /// How long the next attempt waits, in milliseconds from now.
    pub(crate) fn waits_ms(&self, name: &str) -> u64 {
        self.open(name).next_at.map_or(0, |at| at.since(self.now))
    }

    pub(crate) fn due(&self) -> Vec<String> {
        self.state.due(&self.plan).map(|due| self.name(due.key)).collect()
    }

    /// Tells for each call that is due whether it is a probe.
    #[track_caller]
    pub(crate) fn expect_probes(self, expected: &[(&str, bool)]) -> Self {
        let due: Vec<_> = self.state.due(&self.plan).collect();
        let due: Vec<_> = due.iter().map(|due| (self.name(due.key), due.probe)).collect();
        let expected: Vec<_> = expected
            .iter()
            .map(|(name, probe)| ((*name).to_owned(), *probe))
            .collect();
        assert_eq!(due, expected);
        self
    }

    /// The events of the last transition, by name.
    pub(crate) fn last(&self) -> Vec<&'static str> {
        let last = self.transitions.last().unwrap();
        last.iter().map(|recorded| kind(&recorded.event)).collect()
    }

    pub(crate) fn op(&self, name: &str) -> &saga_core::OpState {
        self.state.op(self.key(name)).unwrap()
    }

    pub(crate) fn alarm_in(&self) -> Option<u64> {
        self.state.alarm_at(&self.plan).map(|at| at.since(self.now))
    }

    pub(crate) fn attention(&self) -> Vec<(Cause, u64)> {
        let since = |a: Attention| (a.cause, self.now.since(a.since));
        self.state.attention().map(since).collect()
    }

    pub(crate) fn events(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.transitions.iter().flatten().map(|recorded| &recorded.event)
    }

    pub(crate) fn count(&self, wanted: impl Fn(&Event) -> bool) -> usize {
        self.events().filter(|event| wanted(event)).count()
    }

    #[track_caller]
    pub(crate) fn expect_due(self, names: &[&str]) -> Self {
        assert_eq!(self.due(), names);
        self
    }

    #[track_caller]
    pub(crate) fn expect_running(self) -> Self {
        assert_eq!(self.state.phase(), Phase::Running);
        self
    }

    #[track_caller]
    pub(crate) fn expect_completed(self) -> Self {
        assert_eq!(self.state.phase(), Phase::Completed);
        self
    }

    #[track_caller]
    pub(crate) fn expect_unwinding(self, reason: Reason) -> Self {
        assert_eq!(
            (self.state.phase(), self.state.reason()),
            (Phase::Compensating, Some(reason))
        );
        self
    }

    #[track_caller]
    pub(crate) fn expect_compensated(self, reason: Reason) -> Self {
        assert_eq!(
            (self.state.phase(), self.state.reason()),
            (Phase::Compensated, Some(reason))
        );
        self
    }

    #[track_caller]
    pub(crate) fn expect_attention(self, expected: &[(Cause, u64)]) -> Self {
        assert_eq!(self.attention(), expected);
        self
    }
}

pub(crate) fn kind(event: &Event) -> &'static str {
    match event {
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
    }
}
