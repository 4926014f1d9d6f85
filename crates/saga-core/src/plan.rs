//! The plan: what the state machine knows of a definition.

use crate::{Op, OpKey};

/// Where a step stands in relation to the commit point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Zone {
    /// Before it: may be refused, and is undone when the saga unwinds.
    Compensatable,
    /// The step whose success is the commit point. May be refused; never given up while its outcome is unknown.
    Pivot,
    /// After it: goes forward until it succeeds.
    Retriable,
}

/// When to try again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Attempts after the first call, for compensatable actions. Others are repeated without end.
    pub retries: u32,
    /// Upper bound of the first wait, in milliseconds.
    pub initial_ms: u64,
    /// Growth of the bound from one wait to the next.
    pub factor: f64,
    /// Greatest bound of a wait, in milliseconds.
    pub max_ms: u64,
}

impl Default for Backoff {
    /// 3 retries; waits up to 200 ms, 400 ms, 800 ms … at most 10 s.
    fn default() -> Self {
        Self {
            retries: 3,
            initial_ms: 200,
            factor: 2.0,
            max_ms: 10_000,
        }
    }
}

impl Backoff {
    /// Returns the wait after failure number `failures` (from 1), in milliseconds.
    ///
    /// Full jitter: uniform between 1 ms and the bound, so that sagas which failed together do not return together.
    /// `jitter` is a uniform random number, given as data.
    #[must_use]
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "waits are far below 2^52 ms and bounded by max_ms; a fraction of a millisecond does not matter"
    )]
    pub fn wait_ms(&self, failures: u32, jitter: u32) -> u64 {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let bound = (self.initial_ms as f64 * self.factor.powi(exponent))
            .min(self.max_ms as f64)
            .max(1.0);
        let fraction = f64::from(jitter) / (f64::from(u32::MAX) + 1.0);
        1 + (bound * fraction) as u64
    }
}

/// One step, as the state machine sees it.
#[derive(Debug, Clone)]
pub struct StepPlan {
    /// Name, unique in the plan.
    pub name: Box<str>,
    /// Positions of the steps that must be done before this one starts.
    pub after: Vec<u16>,
    /// Where it stands in relation to the commit point.
    pub zone: Zone,
    /// Whether it has a compensation.
    pub compensated: bool,
    /// Retries of the action.
    pub backoff: Backoff,
    /// Retries of the compensation.
    pub compensation_backoff: Backoff,
    /// Longest time one attempt of the action may take, in milliseconds.
    pub timeout_ms: u64,
    /// Longest time one attempt of the compensation may take, in milliseconds.
    pub compensation_timeout_ms: u64,
    /// Whether the step waits for a person: the deadline stands still while nothing else is open, and the step has a
    /// bound of its own (given at the start of each saga).
    pub expires: bool,
    /// Whether the participant can be asked what became of the action, instead of repeating it.
    pub probe: bool,
    /// Whether the step has a condition, and is left out where that does not hold.
    pub conditional: bool,
}

/// One call made after the last compensation; the saga is compensated only when it has succeeded.
#[derive(Debug, Clone)]
pub struct Epilogue {
    /// Name under which it is journaled and called.
    pub name: Box<str>,
    /// Retries.
    pub backoff: Backoff,
    /// Longest time one attempt may take, in milliseconds.
    pub timeout_ms: u64,
}

/// A checked plan.
#[derive(Debug, Clone)]
pub struct Plan {
    steps: Vec<StepPlan>,
    epilogue: Option<Epilogue>,
    attention_wait_ms: u64,
    pivot: Option<u16>,
    descendants: Vec<Vec<u16>>,
}

/// A plan that cannot be run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There is nothing to do, or more than can be numbered.
    #[error("a plan has 1 to 1000 steps, this one has {0}")]
    StepCount(usize),
    /// A step waits for one that does not come before it.
    #[error("step {0} waits for a step that does not stand before it")]
    Order(Box<str>),
    /// There are two pivots.
    #[error("step {0} is a second pivot")]
    SecondPivot(Box<str>),
    /// A step could run on the wrong side of the commit point.
    #[error("step {0} stands on the wrong side of the commit point")]
    ZoneOrder(Box<str>),
    /// A step after the commit point cannot be compensated.
    #[error("step {0} has a compensation but stands at or after the commit point")]
    CompensatedAfterCommit(Box<str>),
    /// Only compensatable steps may wait for a person.
    #[error("step {0} expires but cannot be given up")]
    ExpiresAfterCommit(Box<str>),
}

/// Most steps a plan may have.
const MAX_STEPS: usize = 1_000;

impl Plan {
    /// Checks and completes a plan. Steps stand in an order in which each comes after those it waits for.
    ///
    /// `attention_wait_ms` is the least wait between attempts of an operation that needs attention (rule 9).
    ///
    /// # Errors
    /// If the steps break the zone order `compensatable* → at most one pivot → retriable*` along any path, or are
    /// not in a topological order.
    pub fn new(
        steps: Vec<StepPlan>,
        epilogue: Option<Epilogue>,
        attention_wait_ms: u64,
    ) -> Result<Self, PlanError> {
        if steps.is_empty() || steps.len() > MAX_STEPS {
            return Err(PlanError::StepCount(steps.len()));
        }
        let ancestors = ancestors(&steps)?;
        let position = |i: usize| u16::try_from(i).expect("bounded by MAX_STEPS");
        let mut pivot = None;
        for (i, step) in steps.iter().enumerate() {
            if step.zone == Zone::Pivot && pivot.replace(i).is_some() {
                return Err(PlanError::SecondPivot(step.name.clone()));
            }
            if step.zone != Zone::Compensatable && step.compensated {
                return Err(PlanError::CompensatedAfterCommit(step.name.clone()));
            }
            if step.zone != Zone::Compensatable && step.expires {
                return Err(PlanError::ExpiresAfterCommit(step.name.clone()));
            }
        }
        for (i, step) in steps.iter().enumerate() {
            let misplaced = match step.zone {
                Zone::Compensatable => {
                    ancestors[i]
                        .iter()
                        .any(|&a| steps[usize::from(a)].zone != Zone::Compensatable)
                        || pivot.is_some_and(|p| !ancestors[p].contains(&position(i)))
                }
                Zone::Pivot => ancestors[i]
                    .iter()
                    .any(|&a| steps[usize::from(a)].zone == Zone::Retriable),
                // Without a pivot the last compensatable step is the commit point, so all of them come before.
                Zone::Retriable => steps
                    .iter()
                    .enumerate()
                    .any(|(j, other)| other.zone != Zone::Retriable && !ancestors[i].contains(&position(j))),
            };
            if misplaced {
                return Err(PlanError::ZoneOrder(step.name.clone()));
            }
        }
        let mut descendants = vec![Vec::new(); steps.len()];
        for (i, above) in ancestors.iter().enumerate() {
            for &a in above {
                descendants[usize::from(a)].push(position(i));
            }
        }
        Ok(Self {
            steps,
            epilogue,
            attention_wait_ms,
            pivot: pivot.map(position),
            descendants,
        })
    }

    /// Returns the steps, in order.
    #[must_use]
    pub fn steps(&self) -> &[StepPlan] {
        &self.steps
    }

    /// Returns the call made after the last compensation, if there is one.
    #[must_use]
    pub fn epilogue(&self) -> Option<&Epilogue> {
        self.epilogue.as_ref()
    }

    /// Returns the position under which the epilogue is journaled.
    #[must_use]
    pub fn epilogue_step(&self) -> u16 {
        u16::try_from(self.steps.len()).expect("bounded by MAX_STEPS")
    }

    /// Returns the name of a step or of the epilogue.
    #[must_use]
    pub fn name(&self, step: u16) -> &str {
        match self.steps.get(usize::from(step)) {
            Some(plan) => &plan.name,
            None => self.epilogue.as_ref().map_or("", |e| &e.name),
        }
    }

    /// Returns the position of the step with this name.
    #[must_use]
    pub fn position(&self, name: &str) -> Option<u16> {
        self.steps
            .iter()
            .position(|s| &*s.name == name)
            .and_then(|i| u16::try_from(i).ok())
    }

    /// Returns the position of the pivot.
    #[must_use]
    pub fn pivot(&self) -> Option<u16> {
        self.pivot
    }

    pub(crate) fn attention_wait_ms(&self) -> u64 {
        self.attention_wait_ms
    }

    /// Tells whether an operation is given up after its retries; the others are repeated without end (rule 9).
    pub(crate) fn limits_retries(&self, key: OpKey) -> bool {
        let zone = self.steps.get(usize::from(key.step)).map(|step| step.zone);
        key.op == Op::Action && zone == Some(Zone::Compensatable)
    }

    /// Tells whether a definite "no" to an operation is an answer that the saga can act on.
    pub(crate) fn refusable(&self, key: OpKey) -> bool {
        let zone = self.steps.get(usize::from(key.step)).map(|step| step.zone);
        key.op == Op::Action && zone.is_some_and(|zone| zone != Zone::Retriable)
    }

    /// Tells whether the participant can be asked what became of an operation.
    pub(crate) fn probes(&self, key: OpKey) -> bool {
        let step = self.steps.get(usize::from(key.step));
        key.op == Op::Action && step.is_some_and(|step| step.probe)
    }

    pub(crate) fn descendants(&self, step: u16) -> &[u16] {
        self.descendants.get(usize::from(step)).map_or(&[], Vec::as_slice)
    }
}

fn ancestors(steps: &[StepPlan]) -> Result<Vec<Vec<u16>>, PlanError> {
    let mut all: Vec<Vec<u16>> = Vec::with_capacity(steps.len());
    for (i, step) in steps.iter().enumerate() {
        let mut own = Vec::new();
        for &before in &step.after {
            if usize::from(before) >= i {
                return Err(PlanError::Order(step.name.clone()));
            }
            own.push(before);
            own.extend_from_slice(&all[usize::from(before)]);
        }
        own.sort_unstable();
        own.dedup();
        all.push(own);
    }
    Ok(all)
}
