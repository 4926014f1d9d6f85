//! Plans, a step at a time.

use saga_core::{Epilogue, Plan, PlanError, StepPlan, Zone};

use super::{ATTENTION_WAIT_MS, BACKOFF, TIMEOUT_MS};

/// One step of a test plan; waits for the step before it unless `after` says otherwise.
#[derive(Clone)]
pub(crate) struct Step {
    plan: StepPlan,
    after: Option<&'static [&'static str]>,
}

fn step(name: &str, zone: Zone) -> Step {
    Step {
        plan: StepPlan {
            name: name.into(),
            after: Vec::new(),
            zone,
            compensated: zone == Zone::Compensatable,
            backoff: BACKOFF,
            compensation_backoff: BACKOFF,
            timeout_ms: TIMEOUT_MS,
            compensation_timeout_ms: 2 * TIMEOUT_MS,
            expires: false,
            probe: false,
            conditional: false,
        },
        after: None,
    }
}

/// A compensatable step.
pub(crate) fn work(name: &str) -> Step {
    step(name, Zone::Compensatable)
}

/// A compensatable step that waits for a person.
pub(crate) fn person(name: &str) -> Step {
    let mut step = work(name);
    step.plan.expires = true;
    step
}

/// The pivot.
pub(crate) fn pivot(name: &str) -> Step {
    step(name, Zone::Pivot)
}

/// A retriable step.
pub(crate) fn onward(name: &str) -> Step {
    step(name, Zone::Retriable)
}

impl Step {
    pub(crate) fn after(mut self, names: &'static [&'static str]) -> Self {
        self.after = Some(names);
        self
    }

    pub(crate) fn compensated(mut self, yes: bool) -> Self {
        self.plan.compensated = yes;
        self
    }

    pub(crate) fn retries(mut self, retries: u32) -> Self {
        self.plan.backoff.retries = retries;
        self
    }

    pub(crate) fn probed(mut self) -> Self {
        self.plan.probe = true;
        self
    }

    /// The step has a condition.
    pub(crate) fn when(mut self) -> Self {
        self.plan.conditional = true;
        self
    }

    pub(crate) fn expires(mut self) -> Self {
        self.plan.expires = true;
        self
    }
}

pub(crate) fn plan_of(steps: &[Step], epilogue: Option<&str>) -> Result<Plan, PlanError> {
    let position = |name: &str| {
        let found = steps.iter().position(|s| &*s.plan.name == name).unwrap();
        u16::try_from(found).unwrap()
    };
    let planned = steps.iter().enumerate().map(|(i, step)| StepPlan {
        after: match step.after {
            Some(names) => names.iter().map(|name| position(name)).collect(),
            None => i
                .checked_sub(1)
                .map(|p| u16::try_from(p).unwrap())
                .into_iter()
                .collect(),
        },
        ..step.plan.clone()
    });
    let epilogue = epilogue.map(|name| Epilogue {
        name: name.into(),
        backoff: BACKOFF,
        timeout_ms: TIMEOUT_MS,
    });
    Plan::new(planned.collect(), epilogue, ATTENTION_WAIT_MS)
}
