//! A saga, the network, and the participants.

use std::collections::BTreeSet;

use saga_core::{
    Command, Completion, Context, Due, Event, FailureClass, Input, Millis, Op, OpKey, OpState, Outcome,
    Payload, Plan, Recorded, Rejected, Start, State, invariants,
};

use super::moves::Move;
use super::participants::{Mood, Participants, Said, failed};
use super::plans::Scene;
use crate::dsl::{error, kind};

#[derive(Debug, Clone, Copy)]
struct Call {
    key: OpKey,
    attempt: u32,
    times_out_at: Millis,
    /// The participant is asked what became of the action.
    probe: bool,
    /// No call is made, since the condition of the step does not hold.
    left_out: bool,
    /// An earlier call may have reached the participant, and no probe has denied it.
    reached_before: bool,
}

impl Call {
    /// Tells whether it has an effect if it arrives.
    fn has_effect(&self) -> bool {
        !self.probe && !self.left_out
    }
}

pub(super) struct World {
    pub(super) plan: Plan,
    start: Start,
    pub(super) state: State,
    now: Millis,
    transitions: Vec<Vec<Recorded>>,
    out: Vec<Call>,
    /// Calls on their way that nobody waits for any more.
    stragglers: Vec<OpKey>,
    /// Whose action may have reached its participant, for all that the saga knows.
    reached: Vec<bool>,
    holds: Vec<bool>,
    pub(super) participants: Participants,
    /// What has happened, by name; to know that the weather brings everything.
    pub(super) seen: BTreeSet<String>,
}

impl World {
    pub(super) fn new(scene: Scene) -> Self {
        let Scene { plan, start, holds } = scene;
        let world = Self {
            state: State::start(&plan, &start),
            now: start.at,
            transitions: Vec::new(),
            out: Vec::new(),
            stragglers: Vec::new(),
            reached: vec![false; plan.steps().len() + 1],
            participants: Participants::new(&plan, &holds),
            holds,
            seen: BTreeSet::new(),
            plan,
            start,
        };
        assert_eq!(invariants::broken_at_rest(&world.plan, &world.state), None);
        world
    }

    pub(super) fn make(&mut self, one: Move) {
        match one {
            Move::Send(i) => {
                if let Some(due) = pick(&self.sendable(), i) {
                    self.send(due);
                }
            }
            Move::Answer(i, mood) => {
                if let Some(call) = self.take_call(i) {
                    let outcome = self.arrive(call, mood);
                    self.reply(call, outcome);
                }
            }
            Move::LoseAnswer(i, mood) => {
                if let Some(call) = self.take_call(i) {
                    self.arrive(call, mood);
                    self.reply(call, failed(FailureClass::Unknown));
                }
            }
            Move::Lose(i, class) => {
                if let Some(call) = self.take_call(i) {
                    self.stragglers.extend(call.has_effect().then_some(call.key));
                    self.reply(call, failed(class));
                }
            }
            Move::Bounce(i) => {
                if let Some(call) = self.take_call(i) {
                    if call.has_effect() && call.key.op == Op::Action {
                        self.reached[usize::from(call.key.step)] = call.reached_before;
                    }
                    self.reply(call, failed(FailureClass::Unsent));
                }
            }
            Move::Arrive(i, mood) => {
                if !self.stragglers.is_empty() {
                    let key = self
                        .stragglers
                        .swap_remove(usize::from(i) % self.stragglers.len());
                    self.participants.call(key, mood);
                }
            }
            Move::Work(i) => {
                let steps = self.plan.epilogue_step() + u16::from(self.plan.epilogue().is_some());
                self.participants.work_goes_on(u16::from(i) % steps);
            }
            Move::Cancel => self.cancel(),
            Move::Wait(ms) => self.pass_to(self.now.plus(u64::from(ms))),
            Move::Ring => {
                if let Some(at) = self.next_instant() {
                    self.pass_to(at);
                }
            }
            Move::Crash(skew_ms) => self.crash(skew_ms),
            Move::Stray(i, attempt, op) => self.stray(i, attempt, op),
            Move::Complete(i, action, mood) => self.complete(i, action, mood),
            Move::Operate(i, by_hand) => self.operate(i, by_hand),
            Move::Try(i, n, action) => self.try_to(i, n, action),
            Move::Resolve => {
                if !self.state.phase().is_ended() {
                    self.command(Command::Resolve, &Ok(()));
                }
            }
        }
    }

    fn sendable(&self) -> Vec<Due> {
        self.state
            .due(&self.plan)
            .filter(|due| due.not_before.is_none_or(|at| at <= self.now))
            .filter(|due| self.out.iter().all(|call| call.key != due.key))
            .collect()
    }

    fn send(&mut self, due: Due) {
        assert_eq!(self.state.paused(), None, "a paused saga calls");
        let step = self.plan.steps().get(usize::from(due.key.step));
        let action = step.filter(|_| due.key.op == Op::Action);
        let left_out = action.is_some() && !self.holds[usize::from(due.key.step)];
        let reached = &mut self.reached[usize::from(due.key.step)];
        let call = Call {
            key: due.key,
            attempt: due.attempt,
            times_out_at: self.now.plus(due.timeout_ms),
            probe: due.probe,
            left_out,
            reached_before: *reached,
        };
        assert!(!due.probe || action.is_some_and(|step| step.probe));
        if action.is_some() && call.has_effect() {
            let repeated = action.is_some_and(|step| step.probe) && *reached;
            assert!(!repeated, "repeated instead of probed: {:#?}", self.state);
            *reached = true;
        }
        self.out.push(call);
    }

    fn take_call(&mut self, i: u8) -> Option<Call> {
        (!self.out.is_empty()).then(|| self.out.swap_remove(usize::from(i) % self.out.len()))
    }

    /// A call that somebody waits for arrives. It is never late: that would mean that its compensation has run.
    fn arrive(&mut self, call: Call, mood: Mood) -> Outcome {
        if call.left_out {
            return Outcome::Skipped;
        }
        let said = if call.probe {
            self.participants.probe(call.key.step, mood)
        } else {
            self.participants.call(call.key, mood)
        };
        match said {
            Said::Outcome(outcome) => outcome,
            Said::Superseded => {
                assert_eq!(self.state.op(call.key).and_then(saga_core::OpState::open), None);
                failed(FailureClass::Unknown)
            }
        }
    }

    fn reply(&mut self, call: Call, outcome: Outcome) {
        let not_seen = outcome == Outcome::NotSeen;
        let late = matches!(outcome, Outcome::Succeeded(_)) && self.awaits_late(call.key);
        let run = &self.state.runs()[usize::from(call.key.step)];
        let watched = call.key.op == Op::Action && run.watched_until.is_some();
        let input = Input::Replied {
            key: call.key,
            attempt: call.attempt,
            outcome,
        };
        let waited_for = self
            .state
            .op(call.key)
            .and_then(saga_core::OpState::open)
            .is_some_and(|open| open.attempt == call.attempt);
        let ended = self.state.phase().is_ended();
        let handled = self.handle(input);
        let heard = !ended && (waited_for || late || watched);
        assert_eq!(handled.is_ok(), heard, "{handled:?}");
        if not_seen && waited_for && heard {
            self.reached[usize::from(call.key.step)] = false;
        }
    }

    /// Tells whether the saga has given up an action and would record its success, once.
    pub(super) fn awaits_late(&self, key: OpKey) -> bool {
        let run = self.state.runs().get(usize::from(key.step));
        key.op == Op::Action
            && run.is_some_and(|run| {
                let written_off = run.written_off && matches!(run.action, OpState::Refused(_));
                run.late.is_none() && (run.action == OpState::Abandoned || written_off)
            })
    }

    pub(super) fn handle(&mut self, input: Input) -> Result<(), Rejected> {
        let before = self.state.clone();
        let audited = matches!(input, Input::Operator { .. });
        let in_flight: Vec<OpKey> = self.out.iter().map(|call| call.key).collect();
        let context = Context {
            at: self.now,
            jitter: 7,
            in_flight: &in_flight,
        };
        let what = what(&input);
        let handled = self.state.handle(&self.plan, context, input);
        self.note(&what, &before, &handled);
        match handled {
            Ok(events) => {
                let unchanged = before == self.state;
                // What an operator did is on record even if nothing came of it.
                let as_recorded = events.is_empty() == unchanged || (audited && unchanged);
                assert!(as_recorded, "what is recorded is what changed: {events:?}");
                assert_eq!(
                    audited || events.first().is_some_and(|e| e.actor.is_some()),
                    events
                        .first()
                        .is_some_and(|e| matches!(e.event, Event::Operator { .. })),
                    "an operator's act comes first: {events:?}"
                );
                self.transitions.extend((!events.is_empty()).then_some(events));
                self.check_every_event(before);
                Ok(())
            }
            Err(rejected) => {
                assert_eq!(before, self.state, "a rejected input changes nothing");
                Err(rejected)
            }
        }
    }

    fn note(&mut self, what: &str, before: &State, handled: &Result<Vec<Recorded>, Rejected>) {
        let phase = before.phase().name();
        match handled {
            Err(rejected) => {
                self.seen.insert(format!("{what} {rejected:?}"));
            }
            Ok(events) => {
                for recorded in events {
                    let paused = if before.paused().is_some() { " paused" } else { "" };
                    self.seen
                        .insert(format!("{phase}{paused} {}", kind(&recorded.event)));
                    if let Event::Skipped { key } = recorded.event {
                        let place = match self.plan.steps().get(usize::from(key.step)) {
                            None => "epilogue".to_owned(),
                            Some(step) => format!("{:?}", step.zone),
                        };
                        self.seen.insert(format!("skipped {place} {:?}", key.op));
                    }
                }
                if self.state.runs().iter().any(|run| run.watched_until.is_some()) {
                    self.seen.insert("watched".to_owned());
                }
                self.seen
                    .extend(events.is_empty().then(|| format!("{what} nothing")));
                self.seen.insert(format!("{phase} {what}"));
            }
        }
    }

    /// Replays the last transition over the state before it.
    fn check_every_event(&self, mut before: State) {
        if before != self.state {
            for recorded in self.transitions.last().into_iter().flatten() {
                before.apply(&self.plan, recorded);
                assert_eq!(invariants::broken(&self.plan, &before), None, "{before:#?}");
            }
        }
        assert_eq!(before, self.state, "a replay gives another state");
        assert_eq!(
            invariants::broken_at_rest(&self.plan, &before),
            None,
            "{before:#?}"
        );
    }

    pub(super) fn cancel(&mut self) {
        let cancellable = self.state.cancellable(&self.plan);
        let input = Input::Cancel {
            actor: "ann".into(),
            note: error("undo"),
        };
        assert_eq!(self.handle(input).is_ok(), cancellable);
    }

    fn next_instant(&self) -> Option<Millis> {
        let calls = self.out.iter().map(|call| call.times_out_at);
        let waits = self
            .state
            .due(&self.plan)
            .filter_map(|due| due.not_before)
            .filter(|at| *at > self.now);
        calls.chain(waits).chain(self.state.alarm_at(&self.plan)).min()
    }

    fn pass_to(&mut self, at: Millis) {
        self.now = self.now.max(at);
        while let Some(i) = self.out.iter().position(|call| call.times_out_at <= self.now) {
            let call = self.out.swap_remove(i);
            self.stragglers.extend(call.has_effect().then_some(call.key));
            self.reply(call, failed(FailureClass::Unknown));
        }
        if self.state.phase().is_ended() {
            return;
        }
        self.handle(Input::Tick).unwrap();
        let again = self.state.alarm_at(&self.plan);
        assert!(
            again.is_none_or(|at| at > self.now),
            "the alarm rings again: {:#?}",
            self.state
        );
    }

    fn replay(&self, transitions: usize) -> State {
        let mut state = State::start(&self.plan, &self.start);
        for recorded in self.transitions[..transitions].iter().flatten() {
            state.apply(&self.plan, recorded);
        }
        state.recovered();
        state
    }

    fn crash(&mut self, skew_ms: i16) {
        let replayed = self.replay(self.transitions.len());
        self.state.recovered();
        assert_eq!(self.state, replayed, "a replay gives another state");
        self.state = replayed;
        let lost = self.out.drain(..).filter(Call::has_effect);
        self.stragglers.extend(lost.map(|call| call.key));
        self.now = Millis(self.now.0 + i64::from(skew_ms));
    }

    fn stray(&mut self, i: u8, attempt: u8, action: bool) {
        let key = self.any_key(i, action);
        let attempt = u32::from(attempt);
        let open = self.state.op(key).and_then(saga_core::OpState::open);
        if open.is_none_or(|open| open.attempt != attempt) {
            let outcome = Outcome::Succeeded(Payload::new("\"stray\""));
            let late = self.awaits_late(key) && !self.state.phase().is_ended();
            let handled = self.handle(Input::Replied {
                key,
                attempt,
                outcome,
            });
            assert_eq!(handled.is_ok(), late, "{handled:?}");
        }
    }

    /// The weather clears up: every call is answered with success, or with the refusal that was stored. Then what was
    /// still on its way arrives, and changes nothing any more.
    pub(super) fn finish(&mut self) {
        if self.state.paused().is_some() {
            self.command(Command::Resume, &Ok(()));
        }
        // Calls out, a probe, an action, a compensation, and an alarm a step, and the epilogue; twice, for waits in
        // between.
        let bound = 2 * (4 * self.plan.steps().len() + self.out.len() + 5);
        for _ in 0..bound {
            if self.state.phase().is_ended() {
                break;
            }
            for due in self.sendable() {
                self.send(due);
            }
            match self.take_call(0) {
                Some(call) => {
                    let outcome = self.arrive(call, Mood::Yes);
                    self.reply(call, outcome);
                }
                None => {
                    let at = self
                        .next_instant()
                        .unwrap_or_else(|| panic!("stuck: {:#?}", self.state));
                    self.pass_to(at);
                }
            }
        }
        assert!(
            self.state.phase().is_ended(),
            "not after {bound} steps: {:#?}",
            self.state
        );
        for key in std::mem::take(&mut self.stragglers) {
            self.participants.call(key, Mood::Yes);
        }
        for step in 0..self.plan.epilogue_step() {
            self.participants.work_goes_on(step);
        }
    }

    pub(super) fn recover_from_every_prefix(mut self) {
        let all = std::mem::take(&mut self.transitions);
        for transitions in 0..=all.len() {
            self.transitions = all[..transitions].to_vec();
            self.state = self.replay(transitions);
            assert_eq!(
                invariants::broken_at_rest(&self.plan, &self.state),
                None,
                "{:#?}",
                self.state
            );
            // Other participants: those of the first run have seen what comes after the prefix.
            self.participants = Participants::new(&self.plan, &self.holds);
            self.out.clear();
            self.stragglers.clear();
            self.answer_everything_with_success();
        }
    }

    fn answer_everything_with_success(&mut self) {
        if self.state.paused().is_some() {
            self.command(Command::Resume, &Ok(()));
        }
        let bound = 3 * self.plan.steps().len() + 4;
        for _ in 0..bound {
            if self.state.phase().is_ended() {
                return;
            }
            let due = self.state.due(&self.plan).next();
            match (due, self.state.alarm_at(&self.plan)) {
                (Some(due), _) => {
                    let (key, attempt) = (due.key, due.attempt);
                    let outcome = Outcome::Succeeded(Payload::new("{}"));
                    self.handle(Input::Replied {
                        key,
                        attempt,
                        outcome,
                    })
                    .unwrap();
                }
                (None, Some(at)) => self.pass_to(at),
                (None, None) => panic!("stuck: {:#?}", self.state),
            }
        }
        assert!(
            self.state.phase().is_ended(),
            "not after {bound} steps: {:#?}",
            self.state
        );
    }
}

pub(super) fn pick<T: Copy>(from: &[T], i: u8) -> Option<T> {
    (!from.is_empty()).then(|| from[usize::from(i) % from.len()])
}

fn what(input: &Input) -> String {
    match input {
        Input::Replied { outcome, .. } => {
            let outcome = match outcome {
                Outcome::Succeeded(_) => "succeeded",
                Outcome::Refused { stored, .. } => ["refused", "refused for good"][usize::from(*stored)],
                Outcome::Pending => "pending",
                Outcome::Skipped => "skipped",
                Outcome::NotSeen => "not seen",
                Outcome::Failed { class, .. } => class.name(),
            };
            format!("replied {outcome}")
        }
        Input::Completed {
            result: Completion::Succeeded(_),
            ..
        } => "token yes".to_owned(),
        Input::Completed {
            result: Completion::Failed(_),
            ..
        } => "token no".to_owned(),
        Input::Cancel { .. } => "cancel".to_owned(),
        Input::Operator { command, .. } => command.action().name().to_owned(),
        Input::Tick => "tick".to_owned(),
    }
}
