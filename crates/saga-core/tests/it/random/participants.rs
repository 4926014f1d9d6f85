//! Participants with a barrier (rule 5), and what they have done to the world.

use saga_core::{Completion, FailureClass, Op, OpKey, OpState, Outcome, Payload, Plan, State, Zone};

use crate::dsl::error;

/// What a participant would like to answer to a call that it has not decided yet.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mood {
    Yes,
    /// "No", and the barrier stores it where it stores refusals.
    No,
    /// "No" from before the barrier.
    EarlyNo,
    /// It has begun; the work goes on without us.
    Pending,
    /// An error that rolled everything back.
    Error,
    NotLetIn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Free,
    Begun,
    Done,
    Refused,
    /// Taken by a compensation that came first.
    Superseded,
}

#[derive(Debug, Clone)]
struct Site {
    action: Action,
    /// Nobody needs it: its condition does not hold, or an operator has decided so.
    left_out: bool,
    compensated: bool,
    done: u32,
    undone: u32,
}

/// What came of a call at the participant.
#[derive(Debug)]
pub(super) enum Said {
    Outcome(Outcome),
    /// A compensation came first.
    Superseded,
}

/// All participants of one saga.
#[derive(Debug)]
pub(super) struct Participants {
    plan: Plan,
    sites: Vec<Site>,
}

impl Participants {
    pub(super) fn new(plan: &Plan, holds: &[bool]) -> Self {
        let site = |holds: &bool| Site {
            action: Action::Free,
            left_out: !holds,
            compensated: false,
            done: 0,
            undone: 0,
        };
        Self {
            plan: plan.clone(),
            sites: holds.iter().chain([&true]).map(site).collect(),
        }
    }

    /// A question about an action arrives.
    pub(super) fn probe(&mut self, step: u16, mood: Mood) -> Said {
        let site = &self.sites[usize::from(step)];
        Said::Outcome(match (mood, site.action) {
            (Mood::Error, _) => failed(FailureClass::Unknown),
            (Mood::NotLetIn, _) => failed(FailureClass::Misconfigured),
            (_, _) if site.compensated => return Said::Superseded,
            (_, Action::Superseded) => return Said::Superseded,
            (_, Action::Free) => Outcome::NotSeen,
            (_, Action::Done) => yes(),
            (_, Action::Refused) => no(true),
            (Mood::Yes, Action::Begun) => {
                self.perform(step);
                yes()
            }
            (Mood::No | Mood::EarlyNo | Mood::Pending, Action::Begun) => Outcome::Pending,
        })
    }

    /// What somebody who holds the token of an operation would say, if anything.
    pub(super) fn completion(&mut self, key: OpKey, mood: Mood) -> Option<Completion> {
        let refusable = self.refusable(key.step);
        let site = self.sites.get_mut(usize::from(key.step))?;
        let (yes, no) = (
            Completion::Succeeded(Payload::new("{}")),
            Completion::Failed(error("no")),
        );
        match (key.op, site.action) {
            (Op::Compensation, _) if site.compensated => Some(yes),
            (Op::Compensation, _) => Some(no),
            (Op::Action, Action::Free) => None,
            (Op::Action, Action::Done) => Some(yes),
            (Op::Action, Action::Refused | Action::Superseded) => Some(no),
            (Op::Action, Action::Begun) => match mood {
                Mood::Yes | Mood::Pending => {
                    self.perform(key.step);
                    Some(yes)
                }
                Mood::No | Mood::EarlyNo | Mood::Error | Mood::NotLetIn => {
                    if refusable {
                        site.action = Action::Refused;
                    }
                    Some(no)
                }
            },
        }
    }

    /// Somebody does the work of an operation by hand.
    pub(super) fn by_hand(&mut self, key: OpKey) {
        match key.op {
            Op::Compensation => {
                self.compensation(key.step, Mood::Yes);
            }
            Op::Action => {
                if self.sites[usize::from(key.step)].action != Action::Done {
                    self.perform(key.step);
                }
            }
        }
    }

    /// Somebody decides that a step is not needed.
    pub(super) fn leave_out(&mut self, step: u16) {
        self.sites[usize::from(step)].left_out = true;
    }

    /// Somebody sees to it that an action has no effect and never will; tells whether that could be done.
    pub(super) fn write_off(&mut self, step: u16) -> bool {
        let site = &mut self.sites[usize::from(step)];
        match site.action {
            Action::Done | Action::Superseded => false,
            Action::Free | Action::Begun | Action::Refused => {
                site.action = Action::Refused;
                true
            }
        }
    }

    fn refusable(&self, step: u16) -> bool {
        let plan = self.plan.steps().get(usize::from(step));
        plan.is_some_and(|s| s.zone != Zone::Retriable)
    }

    /// A call arrives.
    pub(super) fn call(&mut self, key: OpKey, mood: Mood) -> Said {
        match key.op {
            Op::Action => self.action(key.step, mood),
            Op::Compensation => Said::Outcome(self.compensation(key.step, mood)),
        }
    }

    fn action(&mut self, step: u16, mood: Mood) -> Said {
        let refusable = self.refusable(step);
        let site = &mut self.sites[usize::from(step)];
        if site.compensated {
            return Said::Superseded;
        }
        Said::Outcome(match (site.action, mood) {
            (Action::Superseded, _) => return Said::Superseded,
            (Action::Done, _) => yes(),
            (Action::Refused, _) => no(true),
            (Action::Free | Action::Begun, Mood::Yes) => {
                self.perform(step);
                yes()
            }
            (Action::Free | Action::Begun, Mood::No) => {
                if refusable {
                    site.action = Action::Refused;
                }
                no(refusable)
            }
            (Action::Free | Action::Begun, Mood::EarlyNo) => no(false),
            (Action::Free | Action::Begun, Mood::Pending) => {
                site.action = Action::Begun;
                Outcome::Pending
            }
            (Action::Free | Action::Begun, Mood::Error) => failed(FailureClass::Unknown),
            (Action::Free | Action::Begun, Mood::NotLetIn) => failed(FailureClass::Misconfigured),
        })
    }

    /// Work that was begun comes to its end by itself.
    pub(super) fn work_goes_on(&mut self, step: u16) {
        let site = &self.sites[usize::from(step)];
        if site.action == Action::Begun && !site.compensated {
            self.perform(step);
        }
    }

    fn perform(&mut self, step: u16) {
        let before = self
            .plan
            .steps()
            .get(usize::from(step))
            .map_or(&[][..], |s| &s.after);
        for &before in before {
            let site = &self.sites[usize::from(before)];
            let over = site.action == Action::Done || site.left_out;
            assert!(over, "{step} came before {before}");
        }
        if step == self.plan.epilogue_step() {
            self.expect_all_undone_before_the_epilogue();
        }
        let site = &mut self.sites[usize::from(step)];
        site.action = Action::Done;
        site.done += 1;
    }

    fn compensation(&mut self, step: u16, mood: Mood) -> Outcome {
        if self.sites[usize::from(step)].compensated {
            return yes();
        }
        match mood {
            Mood::Yes => {}
            Mood::No | Mood::EarlyNo => return no(false),
            Mood::Pending => return Outcome::Pending,
            Mood::Error => return failed(FailureClass::Unknown),
            Mood::NotLetIn => return failed(FailureClass::Misconfigured),
        }
        for below in descendants(&self.plan, step) {
            let below_is_undone = !self.is_left(below);
            assert!(
                below_is_undone,
                "{step} is undone before {below}, which depends on it"
            );
        }
        let site = &mut self.sites[usize::from(step)];
        site.compensated = true;
        match site.action {
            Action::Done => site.undone += 1,
            Action::Free | Action::Begun => site.action = Action::Superseded,
            Action::Refused | Action::Superseded => {}
        }
        yes()
    }

    /// Tells whether a step has an effect that somebody must still undo.
    fn is_left(&self, step: u16) -> bool {
        let site = &self.sites[usize::from(step)];
        let plan = &self.plan.steps()[usize::from(step)];
        site.done > site.undone && (plan.compensated || plan.zone != Zone::Compensatable)
    }

    pub(super) fn expect_all_done(&self, state: &State) {
        for (run, site) in state.runs().iter().zip(&self.sites) {
            let name = self.plan.name(run.step);
            let expected = match run.action {
                OpState::Succeeded(_) => 1..=1,
                // It may have been done when an operator decided that it was not needed.
                OpState::Skipped if self.reached(run.step) => 0..=1,
                OpState::Skipped | OpState::NotStarted => 0..=0,
                OpState::Open(_) | OpState::Refused(_) | OpState::Abandoned => panic!("{name} is not done"),
            };
            assert!(expected.contains(&site.done), "{name}: {self:#?}");
            assert_eq!(site.undone, 0, "{name}: {self:#?}");
        }
    }

    /// Tells whether an action may have been called before it was left out: its condition does not keep it from that.
    fn reached(&self, step: u16) -> bool {
        self.plan.steps()[usize::from(step)].zone == Zone::Retriable
    }

    pub(super) fn expect_all_undone(&self, state: &State) {
        self.expect_all_undone_before_the_epilogue();
        if let Some(epilogue) = state.runs().get(self.plan.steps().len()) {
            let done = self.sites[self.plan.steps().len()].done;
            match epilogue.action {
                OpState::Skipped => assert!(done <= 1, "{self:#?}"),
                OpState::NotStarted
                | OpState::Open(_)
                | OpState::Succeeded(_)
                | OpState::Refused(_)
                | OpState::Abandoned => assert_eq!(done, 1, "{self:#?}"),
            }
        }
        self.expect_nothing_done_twice();
    }

    pub(super) fn expect_nothing_done_twice(&self) {
        assert!(
            self.sites
                .iter()
                .all(|site| site.done <= 1 && site.undone <= site.done)
        );
    }

    fn expect_all_undone_before_the_epilogue(&self) {
        for step in 0..self.plan.epilogue_step() {
            assert!(!self.is_left(step), "{} is left: {self:#?}", self.plan.name(step));
            assert!(self.sites[usize::from(step)].done <= 1);
        }
    }
}

fn descendants(plan: &Plan, step: u16) -> Vec<u16> {
    let mut below = vec![step];
    for (i, other) in (0..).zip(plan.steps()) {
        if other.after.iter().any(|before| below.contains(before)) {
            below.push(i);
        }
    }
    below.split_off(1)
}

fn yes() -> Outcome {
    Outcome::Succeeded(Payload::new("{}"))
}

fn no(stored: bool) -> Outcome {
    Outcome::Refused {
        error: error("no"),
        stored,
    }
}

pub(super) fn failed(class: FailureClass) -> Outcome {
    Outcome::Failed {
        class,
        error: error(class.name()),
    }
}
