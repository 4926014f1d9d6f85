//! What becomes of a world when something happens.

use saga_core::{
    Completion, Context, Event, FailureClass, Input, Millis, Op, OpKey, Outcome, Payload, Phase, Reason,
    Recorded, Rejected,
};

use super::{Action, SagaModel};
use crate::barrier_rows::Mood;
use crate::journal::Disk;
use crate::mutation::{Mutation, no, unwinding};
use crate::network::{Body, Message, Said};
use crate::process::{Flight, Process};
use crate::world::{Who, World};

impl SagaModel {
    pub(super) fn happen(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        match action {
            Action::Call(who, key) => self.call(&mut next, who, key)?,
            Action::LeaveOut(who, key, disk) => {
                let input = replied(key, self.attempt(world, who, key)?, Outcome::Skipped);
                self.decide(&mut next, who, input, disk)?;
            }
            Action::Bounce(who, key, disk) => {
                pay(&mut next, 1)?;
                let outcome = failed(FailureClass::Unsent);
                let input = replied(key, self.attempt(world, who, key)?, outcome);
                self.decide(&mut next, who, input, disk)?;
            }
            Action::TimeOut(who, key, disk) => {
                pay(&mut next, 1)?;
                let process = next.process_mut(who)?;
                let flight = *process.in_flight.iter().find(|flight| flight.key == key)?;
                process.land(key, flight.attempt);
                let line = process.line;
                next.network
                    .cut(|message, to| to == line && message.key == key && message.attempt == flight.attempt);
                let input = replied(key, flight.attempt, failed(FailureClass::Unknown));
                self.decide(&mut next, who, input, disk)?;
            }
            Action::Arrive { call, mood, again } => self.arrive(&mut next, call, mood, again)?,
            Action::Hear(message, disk) => self.hear(&mut next, message, disk)?,
            Action::WorkEnds(step, well) => {
                next.sites[usize::from(step)].work_ends(well, self.mutation);
            }
            Action::Complete(step, well, disk) => {
                let result = if well {
                    Completion::Succeeded(Payload::new("{}"))
                } else {
                    Completion::Failed(no())
                };
                let (index, op) = (0, Op::Action);
                let key = OpKey { step, index, op };
                self.decide(&mut next, Who::Owner, Input::Completed { key, result }, disk)?;
                self.saw("a token is answered");
            }
            Action::Cancel(who, disk) => {
                next.cancelled = true;
                let input = Input::Cancel {
                    actor: "ann".into(),
                    note: no(),
                };
                self.decide(&mut next, who, input, disk)?;
            }
            Action::Ring(who, disk) => {
                let state = &world.process(who)?.state;
                let alarm = state.alarm_at(&self.core_plan(state))?;
                next.now = next.now.max(alarm);
                out_of_time(&mut next, who);
                self.decide(&mut next, who, Input::Tick, disk)?;
            }
            Action::Crash => {
                pay(&mut next, 1)?;
                let died = next.owner.line.epoch;
                next.network.cut(|_, line| line.epoch == died);
                self.succeed(&mut next);
                self.saw("a crash");
            }
            Action::TakeOver => {
                pay(&mut next, 1)?;
                next.replaced = Some(next.owner.clone());
                self.succeed(&mut next);
                self.saw("a takeover");
            }
            Action::LoadEarly => next.early = Some(next.journal.load()),
        }
        Some(next)
    }

    fn attempt(&self, world: &World, who: Who, key: OpKey) -> Option<u32> {
        let state = &world.process(who)?.state;
        let plan = self.core_plan(state);
        state.due(&plan).find(|due| due.key == key).map(|due| due.attempt)
    }

    /// Another process owns the saga from now on.
    fn succeed(&self, world: &mut World) {
        world.journal.epoch += 1;
        let state = world.early.take().unwrap_or_else(|| world.journal.load());
        world.owner = Process::new(world.journal.epoch, state);
    }

    fn call(&self, world: &mut World, who: Who, key: OpKey) -> Option<()> {
        let process = world.process_mut(who)?;
        let plan = self.core_plan(&process.state);
        let due = process.state.due(&plan).find(|due| due.key == key)?;
        process.in_flight.push(Flight {
            key,
            attempt: due.attempt,
        });
        process.in_flight.sort_unstable_by_key(|flight| flight.key);
        let message = Message {
            key,
            attempt: due.attempt,
            line: Some(process.line),
            body: Body::Call { probe: due.probe },
        };
        world.network.put(message);
        self.saw(match (who, key.op, due.probe) {
            (Who::Replaced, ..) => "a replaced owner calls",
            (Who::Owner, _, true) => "a probe",
            (Who::Owner, Op::Action, false) => "an action",
            (Who::Owner, Op::Compensation, false) => "a compensation",
        });
        Some(())
    }

    fn arrive(&self, world: &mut World, call: Message, mood: Mood, again: bool) -> Option<()> {
        let action = Action::Arrive { call, mood, again };
        pay(world, self.cost(world, &action))?;
        world.network.take(&call);
        if again {
            // Of what the network repeats, nobody hears the second answer.
            world.network.put(Message { line: None, ..call });
        }
        let request = world.request(&self.scene, call.key, call.attempt);
        let site = &mut world.sites[usize::from(call.key.step)];
        let said = match call.body {
            Body::Call { probe: true } => site.probe(),
            Body::Call { probe: false } => site.call(request, mood, self.mutation),
            Body::Answer(_) => return None,
        };
        if site.is_taken() {
            self.saw("a null compensation");
        }
        match said {
            Said::Superseded => self.saw("a late action is superseded"),
            Said::Pending => self.saw("work in the background"),
            Said::Refused { stored: true } => self.saw("a refusal"),
            Said::Refused { stored: false } => self.saw("a refusal without the mark"),
            Said::NotSeen => self.saw("a probe that denies"),
            Said::Succeeded => {}
        }
        if world.reader(&call).is_some() {
            let body = Body::Answer(said);
            world.network.put(Message { body, ..call });
        }
        Some(())
    }

    fn hear(&self, world: &mut World, message: Message, disk: Disk) -> Option<()> {
        world.network.take(&message);
        let Body::Answer(said) = message.body else {
            return None;
        };
        let who = world.reader(&message)?;
        let process = world.process_mut(who)?;
        let (key, attempt) = (message.key, message.attempt);
        let of_this_life = message.line == Some(process.line);
        if of_this_life {
            process.land(key, attempt);
        } else if said != Said::Succeeded {
            // Only a success is one of the operation; the rest is of an attempt of the life before.
            return Some(());
        }
        let open = process.state.op(key).is_some_and(|op| op.open().is_some());
        let outcome = match said {
            Said::Succeeded => Outcome::Succeeded(Payload::new("{}")),
            Said::Refused { stored } => Outcome::Refused { error: no(), stored },
            Said::Pending => Outcome::Pending,
            Said::NotSeen => Outcome::NotSeen,
            Said::Superseded if open && process.superseded != Some(key) => {
                return self.load_again(world, who, key);
            }
            Said::Superseded => failed(FailureClass::Unknown),
        };
        self.decide_or_drop(world, who, replied(key, attempt, outcome), disk)
    }

    /// A participant has seen a later state of the saga.
    fn load_again(&self, world: &mut World, who: Who, key: OpKey) -> Option<()> {
        match who {
            Who::Replaced => self.fenced(world),
            Who::Owner => {
                let state = world.journal.load();
                world.owner.reload(state);
                world.owner.superseded = Some(key);
            }
        }
        Some(())
    }

    /// Decides; what is rejected leaves the world as it is but for the message that was heard.
    fn decide_or_drop(&self, world: &mut World, who: Who, input: Input, disk: Disk) -> Option<()> {
        let heard = world.clone();
        if self.decide(world, who, input, disk).is_none() {
            if disk != Disk::Written {
                return None;
            }
            *world = heard;
        }
        Some(())
    }

    /// Lets a process decide on an input and write what follows. Nothing if the input is rejected, or if there is nothing
    /// to be written that could go wrong.
    fn decide(&self, world: &mut World, who: Who, input: Input, disk: Disk) -> Option<()> {
        let now = world.now;
        let (line, before, events, after) = {
            let process = world.process_mut(who)?;
            let before = process.state.clone();
            let (events, after) = self.handle(process, now, input).ok()?;
            (process.line, before, events, after)
        };
        if events.is_empty() {
            world.process_mut(who)?.state = after;
            return (disk == Disk::Written).then_some(());
        }
        pay(world, u8::from(disk != Disk::Written))?;
        let plan = self.core_plan(&before);
        if self.mutation == Some(Mutation::CallBeforeJournal) {
            self.call_early(world, who, &after);
        }
        if self.mutation == Some(Mutation::AttemptIsNotJournaled)
            && events.iter().all(|e| matches!(e.event, Event::Failed { .. }))
        {
            world.process_mut(who)?.state = after;
            return Some(());
        }
        if disk == Disk::Lost {
            if self.mutation == Some(Mutation::UnknownCommitIsBelieved) {
                world.process_mut(who)?.state = after;
                return Some(());
            }
        } else if line.epoch != world.journal.epoch && self.mutation != Some(Mutation::NothingIsFenced) {
            self.fenced(world);
            return Some(());
        } else {
            world.journal.append(&plan, line.epoch, &events);
            self.saw_events(world, &events);
        }
        if disk == Disk::Written {
            world.process_mut(who)?.state = after;
        } else if who == Who::Replaced && self.mutation != Some(Mutation::NothingIsFenced) {
            // Loading carries the fence, too.
            self.fenced(world);
        } else {
            let state = world.journal.load();
            world.process_mut(who)?.reload(state);
        }
        Some(())
    }

    /// The real decision, with what a mutation makes of it.
    fn handle(
        &self,
        process: &Process,
        now: Millis,
        input: Input,
    ) -> Result<(Vec<Recorded>, saga_core::State), Rejected> {
        let plan = self.core_plan(&process.state);
        let mut in_flight = process.actions_in_flight();
        if let Input::Replied { key, .. } = &input {
            in_flight.retain(|flying| flying != key);
        }
        if self.mutation == Some(Mutation::NothingIsDrained) {
            in_flight.clear();
        }
        let context = Context {
            at: now,
            jitter: 0,
            in_flight: &in_flight,
        };
        let mut after = process.state.clone();
        let Some(mutation) = self.mutation else {
            let events = after.handle(&plan, context, input)?;
            return Ok((events, after));
        };
        let mut events = match after.handle(&plan, context, mutation.input(&plan, input)) {
            Ok(events) => mutation.events(&process.state, events),
            Err(Rejected::PastCommitPoint)
                if mutation == Mutation::CancelIsAlwaysObeyed && process.state.phase() == Phase::Running =>
            {
                vec![Recorded::new(now, None, unwinding(Reason::Cancelled))]
            }
            Err(rejected) => return Err(rejected),
        };
        after = process.state.clone();
        for recorded in &events {
            after.apply(&plan, recorded);
        }
        let idle = after.due(&plan).next().is_none() && after.alarm_at(&plan).is_none();
        if after.phase() == Phase::Compensating && idle {
            // What a mutation has left nothing to do for has ended.
            let phase = Phase::Compensated;
            let ended = Recorded::new(now, None, Event::Ended { phase });
            after.apply(&plan, &ended);
            events.push(ended);
        }
        Ok((events, after))
    }

    /// Makes the calls that a state asks for before it is durable.
    fn call_early(&self, world: &mut World, who: Who, after: &saga_core::State) {
        let plan = self.core_plan(after);
        let Some(process) = world.process_mut(who) else {
            return;
        };
        let line = process.line;
        let due: Vec<_> = after.due(&plan).filter(|due| !process.flies(due.key)).collect();
        for due in due {
            world.network.put(Message {
                key: due.key,
                attempt: due.attempt,
                line: Some(line),
                body: Body::Call { probe: due.probe },
            });
        }
    }

    /// The replaced owner learns that it is one, and ends.
    fn fenced(&self, world: &mut World) {
        if let Some(process) = world.replaced.take() {
            let died = process.line.epoch;
            world.network.cut(|_, line| line.epoch == died);
            self.saw("a replaced owner is fenced");
        }
    }

    fn saw_events(&self, world: &World, events: &[Recorded]) {
        for recorded in events {
            match &recorded.event {
                Event::Ended { phase } => self.saw(phase.name()),
                Event::Unwinding {
                    reason, in_flight, ..
                } => {
                    self.saw(reason.name());
                    if !in_flight.is_empty() {
                        self.saw("a drain");
                    }
                }
                Event::Skipped { .. } => self.saw("a step left out"),
                Event::LateSuccess { .. } => self.saw("a late success"),
                Event::DeadlineMissed => self.saw("a deadline after the commit point"),
                Event::Succeeded { .. }
                | Event::Refused { .. }
                | Event::Failed { .. }
                | Event::Pending { .. }
                | Event::Abandoned { .. }
                | Event::Operator { .. }
                | Event::Committed => {}
            }
        }
        if world.journal.state.phase().is_ended() && world.network.iter().next().is_some() {
            self.saw("a call that outlives its saga");
        }
    }
}

/// Nobody waits longer than the timeout for an attempt that was in flight when unwinding began.
fn out_of_time(world: &mut World, who: Who) {
    let now = world.now;
    let Some(process) = world.process_mut(who) else {
        return;
    };
    let runs = process.state.runs().iter();
    let over = runs.filter(|run| {
        let drained = run.action.open().and_then(|open| open.drain_until);
        drained.is_some_and(|until| until <= now)
    });
    let over: Vec<u16> = over.map(|run| run.step).collect();
    let is_over = |key: OpKey| key.op == Op::Action && over.contains(&key.step);
    process.in_flight.retain(|flight| !is_over(flight.key));
    let line = process.line;
    world
        .network
        .cut(|message, to| to == line && is_over(message.key));
}

/// Takes this many of the faults that are left.
fn pay(world: &mut World, faults: u8) -> Option<()> {
    world.faults = world.faults.checked_sub(faults)?;
    Some(())
}

fn replied(key: OpKey, attempt: u32, outcome: Outcome) -> Input {
    Input::Replied {
        key,
        attempt,
        outcome,
    }
}

fn failed(class: FailureClass) -> Outcome {
    Outcome::Failed { class, error: no() }
}
