//! Participants with a barrier (rule 5), and what they have done to the world.

use saga_core::{FailureClass, Op, OpKey, Outcome, Payload, Plan, Zone};

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
    pub(super) fn new(plan: &Plan) -> Self {
        let site = Site {
            action: Action::Free,
            compensated: false,
            done: 0,
            undone: 0,
        };
        Self {
            plan: plan.clone(),
            sites: vec![site; plan.steps().len() + 1],
        }
    }

    /// A call arrives.
    pub(super) fn call(&mut self, key: OpKey, mood: Mood) -> Said {
        match key.op {
            Op::Action => self.action(key.step, mood),
            Op::Compensation => Said::Outcome(self.compensation(key.step, mood)),
        }
    }

    fn action(&mut self, step: u16, mood: Mood) -> Said {
        let refusable = self
            .plan
            .steps()
            .get(usize::from(step))
            .is_some_and(|s| s.zone != Zone::Retriable);
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
            assert_eq!(
                self.sites[usize::from(before)].action,
                Action::Done,
                "{step} came before {before}"
            );
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

    pub(super) fn expect_all_done(&self) {
        for (step, site) in self.plan.steps().iter().zip(&self.sites) {
            assert_eq!((site.done, site.undone), (1, 0), "{}: {self:#?}", step.name);
        }
        assert_eq!(
            self.sites[self.plan.steps().len()].done,
            0,
            "there is nothing to close: {self:#?}"
        );
    }

    pub(super) fn expect_all_undone(&self) {
        self.expect_all_undone_before_the_epilogue();
        let epilogue = u32::from(self.plan.epilogue().is_some());
        assert_eq!(self.sites[self.plan.steps().len()].done, epilogue, "{self:#?}");
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
