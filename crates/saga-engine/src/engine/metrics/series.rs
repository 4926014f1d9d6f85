//! The series themselves: every name and label that the engine's metrics have.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use ids::SagaId;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use saga_core::{Attention, Cause, FailureClass, Millis, Op, OpKey, Outcome, Phase, Plan, invariants};

use crate::engine::breaker::Circuit;
use crate::participants::{CallResult, ParticipantStatus};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Ending {
    Succeeded,
    Refused,
    Pending,
    Superseded,
    Unknown,
    Unsent,
    Misconfigured,
    Skipped,
    NotSeen,
}

pub(super) struct OfType {
    pub(super) started: Counter,
    pub(super) adopted: Counter,
    pub(super) completed: Counter,
    pub(super) compensated: Counter,
    pub(super) resolved: Counter,
    pub(super) released: Counter,
    pub(super) running: Level,
    pub(super) compensating: Level,
    pub(super) duration: Histogram,
    pub(super) oldest: Gauge,
    pub(super) attention: Vec<Level>,
    pub(super) ages: BinaryHeap<Reverse<(Millis, SagaId)>>,
}

/// Series of one definition's steps, by position, the epilogue last.
pub(super) struct OfDefinition {
    steps: Vec<OfStep>,
}

struct OfStep {
    retries: Counter,
    /// By [`Ending`]; those that cannot come are absent.
    action: Vec<Option<Histogram>>,
    compensation: Vec<Option<Histogram>>,
    probe: Vec<Option<Histogram>>,
}

pub(super) struct OfParticipant {
    in_flight: Level,
    waiting: Level,
    circuit: Gauge,
}

/// Series without a type.
pub(super) struct OfInstance {
    pub(super) claim_lag: Histogram,
    pub(super) fenced_writes: Counter,
    pub(super) batch_size: Histogram,
    broken: Vec<(&'static str, Counter)>,
}

/// A gauge and what it owes to this engine: another engine of the same process may share it.
pub(super) struct Level {
    gauge: Gauge,
    pub(super) value: usize,
}

impl Level {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(0.0);
        Self { gauge, value: 0 }
    }

    pub(super) fn set(&mut self, value: usize) {
        let (before, after) = (as_float(self.value), as_float(value));
        if after > before {
            self.gauge.increment(after - before);
        } else if after < before {
            self.gauge.decrement(before - after);
        }
        self.value = value;
    }

    pub(super) fn up(&mut self) {
        self.set(self.value + 1);
    }

    pub(super) fn down(&mut self) {
        self.set(self.value.saturating_sub(1));
    }
}

impl OfType {
    pub(super) fn new(name: &Arc<str>) -> Self {
        let name = || Arc::clone(name);
        let attention = |cause: &Cause| {
            Level::new(
                gauge!("saga_attention", "type" => name(), "cause" => cause.name().to_ascii_lowercase()),
            )
        };
        let active = |phase| Level::new(gauge!("saga_active", "type" => name(), "phase" => phase));
        let oldest = gauge!("saga_oldest_active_seconds", "type" => name());
        oldest.set(0.0);
        Self {
            started: zero(counter!("saga_started_total", "type" => name())),
            adopted: zero(counter!("saga_adopted_total", "type" => name())),
            completed: zero(counter!("saga_completed_total", "type" => name())),
            compensated: zero(counter!("saga_compensated_total", "type" => name())),
            resolved: zero(counter!("saga_resolved_total", "type" => name())),
            released: zero(counter!("saga_released_total", "type" => name())),
            running: active("running"),
            compensating: active("compensating"),
            duration: histogram!("saga_duration_seconds", "type" => name()),
            oldest,
            attention: CAUSES.iter().map(attention).collect(),
            ages: BinaryHeap::new(),
        }
    }

    /// An active saga leaves.
    pub(super) fn leave(&mut self, phase: Phase, attention: u16) {
        self.level(phase).down();
        self.attend(attention, 0);
    }

    /// The attention of an active saga was this, and is that.
    pub(super) fn attend(&mut self, before: u16, now: u16) {
        for (position, level) in self.attention.iter_mut().enumerate() {
            match (before >> position & 1, now >> position & 1) {
                (0, 1) => level.up(),
                (1, 0) => level.down(),
                _ => {}
            }
        }
    }

    pub(super) fn level(&mut self, phase: Phase) -> &mut Level {
        match phase {
            Phase::Running => &mut self.running,
            Phase::Compensating | Phase::Completed | Phase::Compensated | Phase::Resolved => {
                &mut self.compensating
            }
        }
    }
}

impl OfParticipant {
    pub(super) fn new(participant: &ParticipantStatus) -> Self {
        let name = || Arc::clone(&participant.name);
        let circuit = gauge!("saga_participant_circuit", "participant" => name());
        circuit.set(0.0);
        Self {
            in_flight: Level::new(gauge!("saga_participant_in_flight", "participant" => name())),
            waiting: Level::new(gauge!("saga_participant_waiting", "participant" => name())),
            circuit,
        }
    }

    pub(super) fn show(&mut self, circuit: Circuit, in_flight: usize, waiting: usize) {
        self.in_flight.set(in_flight);
        self.waiting.set(waiting);
        self.circuit.set(match circuit {
            Circuit::Closed => 0.0,
            Circuit::HalfOpen => 1.0,
            Circuit::Open { .. } => 2.0,
        });
    }
}

impl OfInstance {
    pub(super) fn new() -> Self {
        Self {
            claim_lag: histogram!("saga_claim_lag_seconds"),
            fenced_writes: zero(counter!("saga_fenced_writes_total")),
            batch_size: histogram!("saga_commit_batch_size"),
            broken: invariants::ALL
                .iter()
                .chain(invariants::AT_REST)
                .map(|invariant| invariant.name)
                .map(|name| {
                    let counter = counter!("saga_invariant_violations_total", "invariant" => name);
                    (name, zero(counter))
                })
                .collect(),
        }
    }

    pub(super) fn broken(&self, invariant: &str) {
        if let Some((_, counter)) = self.broken.iter().find(|(name, _)| *name == invariant) {
            counter.increment(1);
        }
    }
}

impl OfDefinition {
    pub(super) fn new(saga_type: &Arc<str>, plan: &Plan) -> Self {
        let positions = plan.steps().len() + usize::from(plan.epilogue().is_some());
        let step = |position: usize| {
            let position = u16::try_from(position).unwrap_or(u16::MAX);
            let name: Arc<str> = plan.name(position).into();
            let durations = |op: &'static str, not: &[Ending]| {
                let of = |ending: &Ending| {
                    (!not.contains(ending)).then(|| {
                        histogram!(
                            "saga_step_duration_seconds",
                            "type" => Arc::clone(saga_type), "step" => Arc::clone(&name), "op" => op,
                            "outcome" => ending.name()
                        )
                    })
                };
                ENDINGS.iter().map(of).collect()
            };
            let step = plan.steps().get(usize::from(position));
            let action: &[Ending] = if step.is_some_and(|step| step.conditional) {
                &[Ending::NotSeen]
            } else {
                &[Ending::NotSeen, Ending::Skipped]
            };
            OfStep {
                retries: zero(counter!(
                    "saga_step_retries_total", "type" => Arc::clone(saga_type), "step" => Arc::clone(&name)
                )),
                action: durations("action", action),
                compensation: if step.is_some_and(|step| step.compensated) {
                    durations(
                        "compensation",
                        &[Ending::NotSeen, Ending::Skipped, Ending::Superseded],
                    )
                } else {
                    Vec::new()
                },
                probe: if step.is_some_and(|step| step.probe) {
                    durations("probe", &[Ending::Skipped])
                } else {
                    Vec::new()
                },
            }
        };
        Self {
            steps: (0..positions).map(step).collect(),
        }
    }

    /// A call goes out that is not the first of its operation.
    pub(super) fn repeated(&self, key: OpKey) {
        if let Some(step) = self.steps.get(usize::from(key.step)) {
            step.retries.increment(1);
        }
    }

    /// A call has ended.
    pub(super) fn answered(&self, key: OpKey, probe: bool, ending: Ending, duration_ms: u64) {
        let Some(step) = self.steps.get(usize::from(key.step)) else {
            return;
        };
        let of_op = match key.op {
            Op::Action if probe => &step.probe,
            Op::Action => &step.action,
            Op::Compensation => &step.compensation,
        };
        let position = ENDINGS.iter().position(|known| *known == ending);
        if let Some(Some(histogram)) = position.and_then(|position| of_op.get(position)) {
            histogram.record(seconds(duration_ms));
        }
    }
}

pub(super) fn bits(attention: &[Attention]) -> u16 {
    attention
        .iter()
        .fold(0, |bits, attention| bits | bit(attention.cause))
}

pub(super) fn bit(cause: Cause) -> u16 {
    let position = CAUSES.iter().position(|known| *known == cause);
    position.map_or(0, |position| 1 << position)
}

/// Every cause there is.
const CAUSES: [Cause; 7] = [
    Cause::CannotBeRefused,
    Cause::Unreachable,
    Cause::KeepsFailing,
    Cause::Misconfigured,
    Cause::DeadlinePassed,
    Cause::Quarantined,
    Cause::LateSuccess,
];

const ENDINGS: [Ending; 9] = [
    Ending::Succeeded,
    Ending::Refused,
    Ending::Pending,
    Ending::Superseded,
    Ending::Unknown,
    Ending::Unsent,
    Ending::Misconfigured,
    Ending::Skipped,
    Ending::NotSeen,
];

impl Ending {
    /// Reads how a call ended.
    pub(in crate::engine) fn of(result: &CallResult) -> Self {
        match result {
            CallResult::Outcome(Outcome::Succeeded(_)) => Self::Succeeded,
            CallResult::Outcome(Outcome::Refused { .. }) => Self::Refused,
            CallResult::Outcome(Outcome::Pending) | CallResult::Pending { .. } => Self::Pending,
            CallResult::Superseded => Self::Superseded,
            CallResult::Outcome(Outcome::Failed { class, .. }) => match class {
                FailureClass::Unknown => Self::Unknown,
                FailureClass::Unsent => Self::Unsent,
                FailureClass::Misconfigured | FailureClass::CannotBeRefused => Self::Misconfigured,
                FailureClass::NotSeen => Self::NotSeen,
            },
            CallResult::Outcome(Outcome::Skipped) => Self::Skipped,
            CallResult::Outcome(Outcome::NotSeen) => Self::NotSeen,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Refused => "refused",
            Self::Pending => "pending",
            Self::Superseded => "superseded",
            Self::Unknown => "unknown",
            Self::Unsent => "unsent",
            Self::Misconfigured => "misconfigured",
            Self::Skipped => "skipped",
            Self::NotSeen => "not_seen",
        }
    }
}

pub(super) fn describe() {
    use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
    describe_counter!("saga_started_total", "Sagas started by this process");
    describe_counter!(
        "saga_adopted_total",
        "Sagas that this process drives and did not start: loaded at its start or taken over"
    );
    describe_counter!("saga_completed_total", "Sagas whose every step succeeded");
    describe_counter!("saga_compensated_total", "Sagas that were undone");
    describe_counter!("saga_resolved_total", "Sagas that an operator ended");
    describe_counter!(
        "saga_released_total",
        "Sagas that this process stopped driving without an end: parked, taken over, or left at its own end"
    );
    describe_gauge!("saga_active", "Sagas that this process drives, by phase");
    describe_histogram!(
        "saga_duration_seconds",
        Unit::Seconds,
        "From the start of a saga to its end"
    );
    describe_gauge!(
        "saga_oldest_active_seconds",
        Unit::Seconds,
        "Age of the oldest saga that this process drives"
    );
    describe_histogram!(
        "saga_claim_lag_seconds",
        Unit::Seconds,
        "From the instant at which a call was due to the call"
    );
    describe_histogram!(
        "saga_step_duration_seconds",
        Unit::Seconds,
        "Duration of one attempt of an operation"
    );
    describe_counter!(
        "saga_step_retries_total",
        "Attempts after the first one of an operation"
    );
    describe_gauge!(
        "saga_attention",
        "Sagas driven by this process that need attention, by cause"
    );
    describe_counter!(
        "saga_fenced_writes_total",
        "Writes that the journal refused because another process has this instance's place"
    );
    describe_counter!(
        "saga_invariant_violations_total",
        "Sagas whose state broke an invariant when they were loaded or had ended"
    );
    describe_histogram!(
        "saga_commit_batch_size",
        "Sagas' changes in one commit of the journal"
    );
    describe_gauge!("saga_participant_in_flight", "Calls in flight to a participant");
    describe_gauge!(
        "saga_participant_waiting",
        "Calls that wait for a place at a participant or for its circuit"
    );
    describe_gauge!(
        "saga_participant_circuit",
        "Circuit of a participant: 0 closed, 1 half-open, 2 open"
    );
}

/// Shows a counter before anything is counted.
fn zero(counter: Counter) -> Counter {
    counter.increment(0);
    counter
}

#[expect(
    clippy::cast_precision_loss,
    reason = "durations and counts are far below 2^52"
)]
pub(super) fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(super) fn as_float(count: usize) -> f64 {
    count as f64
}
