//! What is checked: a definition, who answers how, and how much may go wrong.

use saga_core::{Backoff, Epilogue, Millis, Plan, Start, StepPlan, Zone};

/// Longest time of an attempt; no other instant is near it.
const TIMEOUT_MS: u64 = 10;
const DEADLINE_MS: u64 = 1_000;

/// One step of a scene.
#[derive(Debug, Clone)]
struct Step {
    plan: StepPlan,
    works_in_background: bool,
    left_out: bool,
}

/// A definition with its surroundings.
#[derive(Debug, Clone)]
pub struct Scene {
    /// For reports.
    pub name: &'static str,
    pub(crate) plan: Plan,
    steps: Vec<Step>,
    /// How many things may go wrong in one story.
    pub(crate) faults: u8,
    /// Whether somebody may cancel it.
    pub(crate) cancels: bool,
}

fn step(name: &str, after: &[u16], zone: Zone) -> Step {
    let backoff = Backoff {
        retries: 1,
        initial_ms: 1,
        factor: 1.0,
        max_ms: 1,
    };
    Step {
        plan: StepPlan {
            name: name.into(),
            after: after.to_vec(),
            zone,
            compensated: zone == Zone::Compensatable,
            backoff,
            compensation_backoff: backoff,
            timeout_ms: TIMEOUT_MS,
            compensation_timeout_ms: TIMEOUT_MS,
            expires: false,
            probe: false,
            conditional: false,
        },
        works_in_background: false,
        left_out: false,
    }
}

impl Step {
    /// Its first attempt without an answer ends the saga.
    fn impatient(mut self) -> Self {
        self.plan.backoff.retries = 0;
        self
    }

    fn probed(mut self) -> Self {
        self.plan.probe = true;
        self
    }

    /// It answers Pending and works on.
    fn asynchronous(mut self) -> Self {
        self.works_in_background = true;
        self
    }

    /// Its condition does not hold.
    fn left_out(mut self) -> Self {
        self.plan.conditional = true;
        self.left_out = true;
        self
    }
}

impl Scene {
    fn new(name: &'static str, faults: u8, steps: Vec<Step>, epilogue: bool) -> Self {
        let epilogue = epilogue.then(|| Epilogue {
            name: "E".into(),
            backoff: Backoff::default(),
            timeout_ms: TIMEOUT_MS,
        });
        let plans = steps.iter().map(|step| step.plan.clone()).collect();
        let plan = Plan::new(plans, epilogue, 60_000);
        Self {
            name,
            plan: plan.expect("the scenes are sound"),
            steps,
            faults,
            cancels: true,
        }
    }

    /// Two steps, no pivot: the second one's success commits.
    #[must_use]
    pub fn linear(faults: u8) -> Self {
        let steps = vec![
            step("A", &[], Zone::Compensatable),
            step("B", &[0], Zone::Compensatable).impatient(),
        ];
        Self::new("linear", faults, steps, false)
    }

    /// The same, with a call after the last compensation.
    #[must_use]
    pub fn with_epilogue(faults: u8) -> Self {
        let steps = vec![
            step("A", &[], Zone::Compensatable).impatient(),
            step("B", &[0], Zone::Compensatable).impatient(),
        ];
        Self::new("with epilogue", faults, steps, true)
    }

    /// A compensatable step, the pivot, a retriable step.
    #[must_use]
    pub fn pivot(faults: u8) -> Self {
        let steps = vec![
            step("A", &[], Zone::Compensatable).impatient(),
            step("P", &[0], Zone::Pivot),
            step("R", &[1], Zone::Retriable),
        ];
        Self::new("pivot", faults, steps, false)
    }

    /// The same, with a pivot that can be asked what became of it.
    #[must_use]
    pub fn probed(faults: u8) -> Self {
        let steps = vec![
            step("A", &[], Zone::Compensatable).impatient(),
            step("P", &[0], Zone::Pivot).probed(),
        ];
        Self::new("probed", faults, steps, false)
    }

    /// Three branches, of which one is left out, that meet in the pivot.
    #[must_use]
    pub fn branching(faults: u8) -> Self {
        let steps = vec![
            step("A", &[], Zone::Compensatable).impatient(),
            step("B", &[], Zone::Compensatable).impatient(),
            step("C", &[0], Zone::Compensatable).left_out(),
            step("P", &[1, 2], Zone::Pivot),
        ];
        Self::new("branching", faults, steps, false)
    }

    /// Two tries side by side, the decision, two confirms side by side.
    #[must_use]
    pub fn tcc(faults: u8) -> Self {
        let steps = vec![
            step("TRY_A", &[], Zone::Compensatable).impatient(),
            step("TRY_B", &[], Zone::Compensatable).impatient(),
            step("DECIDE", &[0, 1], Zone::Pivot),
            step("CONFIRM_A", &[2], Zone::Retriable),
            step("CONFIRM_B", &[2], Zone::Retriable),
        ];
        Self::new("tcc", faults, steps, false)
    }

    /// A step that works in the background and answers by token, then one that does not.
    #[must_use]
    pub fn asynchronous(faults: u8) -> Self {
        let steps = vec![
            step("A", &[], Zone::Compensatable).asynchronous(),
            step("B", &[0], Zone::Compensatable).impatient(),
        ];
        Self::new("asynchronous", faults, steps, false)
    }

    /// Every scene, with so many more faults than the least worth telling, where that stays within minutes.
    #[must_use]
    pub fn all(more: u8) -> Vec<Self> {
        vec![
            Self::linear(2 + more),
            Self::with_epilogue(1 + more),
            Self::pivot(2 + more),
            Self::probed(2 + more),
            Self::branching(1),
            Self::tcc(1),
            Self::asynchronous(1 + more),
        ]
    }

    /// Returns how many things may go wrong in one story.
    #[must_use]
    pub fn faults(&self) -> u8 {
        self.faults
    }

    pub(crate) fn start() -> Start {
        Start {
            at: Millis(0),
            deadline_ms: DEADLINE_MS,
            expires_ms: Vec::new(),
        }
    }

    pub(crate) fn works_in_background(&self, step: u16) -> bool {
        self.steps
            .get(usize::from(step))
            .is_some_and(|step| step.works_in_background)
    }

    pub(crate) fn left_out(&self, step: u16) -> bool {
        self.steps
            .get(usize::from(step))
            .is_some_and(|step| step.left_out)
    }
}
