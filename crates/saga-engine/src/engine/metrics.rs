//! What the engine counts. All names and labels of its metrics are here.
//!
//! Handles are looked up once: for a type and a definition when the first saga of it is seen, which also shows every series
//! of it as 0. Only durable changes are counted, so that of every type and process
//! `started + adopted = completed + compensated + resolved + released + active`.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::Arc;

use ids::SagaId;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use saga_core::{Attention, Cause, FailureClass, Millis, Op, OpKey, Outcome, Phase, Plan};

use super::breaker::Circuit;
use crate::journal::{DefinitionId, Identity};
use crate::participants::{CallResult, ParticipantId, ParticipantStatus};

/// Stale entries among the ages that are not worth a rebuild.
const SLACK: usize = 1_024;

/// Which series a saga counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Series {
    of_type: usize,
    definition: usize,
}

/// A saga that counts as active, and as what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted {
    series: Series,
    phase: Phase,
    /// One bit for each of [`CAUSES`].
    attention: u16,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
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

/// All handles, and what they were last told.
pub(super) struct Metrics {
    types: Vec<OfType>,
    by_name: HashMap<Arc<str>, usize>,
    definitions: Vec<OfDefinition>,
    by_definition: HashMap<DefinitionId, usize>,
    participants: Vec<OfParticipant>,
    claim_lag: Histogram,
    fenced_writes: Counter,
    batch_size: Histogram,
}

struct OfType {
    started: Counter,
    adopted: Counter,
    completed: Counter,
    compensated: Counter,
    resolved: Counter,
    released: Counter,
    running: Level,
    compensating: Level,
    duration: Histogram,
    oldest: Gauge,
    attention: Vec<Level>,
    ages: BinaryHeap<Reverse<(Millis, SagaId)>>,
}

/// Series of one definition's steps, by position, the epilogue last.
struct OfDefinition {
    steps: Vec<OfStep>,
}

struct OfStep {
    retries: Counter,
    /// By [`Ending`]; those that cannot come are absent.
    action: Vec<Option<Histogram>>,
    compensation: Vec<Option<Histogram>>,
    probe: Vec<Option<Histogram>>,
}

struct OfParticipant {
    in_flight: Level,
    waiting: Level,
    circuit: Gauge,
}

/// A gauge and what it owes to this engine: another engine of the same process may share it.
struct Level {
    gauge: Gauge,
    value: usize,
}

impl Level {
    fn new(gauge: Gauge) -> Self {
        gauge.increment(0.0);
        Self { gauge, value: 0 }
    }

    fn set(&mut self, value: usize) {
        let (before, after) = (as_float(self.value), as_float(value));
        if after > before {
            self.gauge.increment(after - before);
        } else if after < before {
            self.gauge.decrement(before - after);
        }
        self.value = value;
    }

    fn up(&mut self) {
        self.set(self.value + 1);
    }

    fn down(&mut self) {
        self.set(self.value.saturating_sub(1));
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics")
            .field("types", &self.by_name.len())
            .finish_non_exhaustive()
    }
}

impl Metrics {
    pub(super) fn new(participants: impl Iterator<Item = ParticipantStatus>) -> Self {
        describe();
        let participants = participants.map(|participant| {
            let label = |gauge: fn(Arc<str>) -> Gauge| gauge(Arc::clone(&participant.name));
            let circuit = label(|name| gauge!("saga_participant_circuit", "participant" => name));
            circuit.set(0.0);
            OfParticipant {
                in_flight: Level::new(label(
                    |name| gauge!("saga_participant_in_flight", "participant" => name),
                )),
                waiting: Level::new(label(
                    |name| gauge!("saga_participant_waiting", "participant" => name),
                )),
                circuit,
            }
        });
        let fenced_writes = counter!("saga_fenced_writes_total");
        fenced_writes.increment(0);
        Self {
            types: Vec::new(),
            by_name: HashMap::new(),
            definitions: Vec::new(),
            by_definition: HashMap::new(),
            participants: participants.collect(),
            claim_lag: histogram!("saga_claim_lag_seconds"),
            fenced_writes,
            batch_size: histogram!("saga_commit_batch_size"),
        }
    }

    /// Returns the series of a saga; makes them if nothing like it was seen before.
    pub(super) fn series(&mut self, identity: &Identity) -> Series {
        let of_type = match self.by_name.get(&identity.saga_type) {
            Some(known) => *known,
            None => {
                self.types.push(OfType::new(&identity.saga_type));
                let new = self.types.len() - 1;
                self.by_name.insert(Arc::clone(&identity.saga_type), new);
                new
            }
        };
        let definition = match self.by_definition.get(&identity.definition) {
            Some(known) => *known,
            None => {
                self.definitions
                    .push(OfDefinition::new(&identity.saga_type, &identity.plan));
                let new = self.definitions.len() - 1;
                self.by_definition.insert(identity.definition, new);
                new
            }
        };
        Series { of_type, definition }
    }

    /// A saga was started here.
    pub(super) fn started(&mut self, series: Series, phase: Phase, identity: &Identity) -> Counted {
        self.types[series.of_type].started.increment(1);
        self.active(series, phase, identity)
    }

    /// A saga that this process did not start is driven here.
    pub(super) fn adopted(&mut self, series: Series, phase: Phase, identity: &Identity) -> Counted {
        self.types[series.of_type].adopted.increment(1);
        self.active(series, phase, identity)
    }

    fn active(&mut self, series: Series, phase: Phase, identity: &Identity) -> Counted {
        let of_type = &mut self.types[series.of_type];
        of_type.level(phase).up();
        of_type.ages.push(Reverse((identity.start.at, identity.id)));
        Counted {
            series,
            phase,
            attention: 0,
        }
    }

    /// An active saga is in this phase now, and needs this attention.
    pub(super) fn changed(&mut self, counted: &mut Counted, phase: Phase, attention: &[Attention]) {
        let of_type = &mut self.types[counted.series.of_type];
        if counted.phase != phase {
            of_type.level(counted.phase).down();
            of_type.level(phase).up();
            counted.phase = phase;
        }
        let now = bits(attention);
        if counted.attention != now {
            of_type.attend(counted.attention, now);
            counted.attention = now;
        }
    }

    /// An active saga has ended in this phase, so many milliseconds after its start.
    pub(super) fn ended(&mut self, counted: Counted, phase: Phase, duration_ms: u64) {
        let of_type = &mut self.types[counted.series.of_type];
        of_type.leave(counted);
        match phase {
            Phase::Completed => of_type.completed.increment(1),
            Phase::Compensated => of_type.compensated.increment(1),
            Phase::Running | Phase::Compensating | Phase::Resolved => of_type.resolved.increment(1),
        }
        of_type.duration.record(seconds(duration_ms));
    }

    /// An active saga is not driven here any more, and has not ended as far as this process knows.
    pub(super) fn released(&mut self, counted: Counted) {
        let of_type = &mut self.types[counted.series.of_type];
        of_type.leave(counted);
        of_type.released.increment(1);
    }

    /// A saga that this instance owns is parked, or is so no more.
    pub(super) fn parked(&mut self, series: Series, is: bool) {
        let quarantined = bit(Cause::Quarantined);
        let (before, now) = if is { (0, quarantined) } else { (quarantined, 0) };
        self.types[series.of_type].attend(before, now);
    }

    /// A call goes out, so long after it was due.
    pub(super) fn called(&self, series: Series, key: OpKey, repeated: bool, lag_ms: u64) {
        self.claim_lag.record(seconds(lag_ms));
        if repeated
            && let Some(step) = self.definitions[series.definition]
                .steps
                .get(usize::from(key.step))
        {
            step.retries.increment(1);
        }
    }

    /// A call has ended.
    pub(super) fn answered(&self, series: Series, key: OpKey, probe: bool, ending: Ending, duration_ms: u64) {
        let Some(step) = self.definitions[series.definition]
            .steps
            .get(usize::from(key.step))
        else {
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

    /// A batch goes to the journal.
    pub(super) fn batch(&self, size: usize) {
        self.batch_size.record(as_float(size));
    }

    /// The journal refused a write because another process has this instance's place.
    pub(super) fn fenced(&self) {
        self.fenced_writes.increment(1);
    }

    /// A participant's gate has changed.
    pub(super) fn participant(
        &mut self,
        participant: ParticipantId,
        (circuit, in_flight, waiting): (Circuit, usize, usize),
    ) {
        if let Some(of) = self.participants.get_mut(participant.0) {
            of.in_flight.set(in_flight);
            of.waiting.set(waiting);
            of.circuit.set(match circuit {
                Circuit::Closed => 0.0,
                Circuit::HalfOpen => 1.0,
                Circuit::Open { .. } => 2.0,
            });
        }
    }

    /// Shows how old the oldest saga of each type is.
    pub(super) fn show_ages(&mut self, now: Millis, is_live: impl Fn(SagaId) -> bool) {
        for of_type in &mut self.types {
            let active = of_type.running.value + of_type.compensating.value;
            let ages = &mut of_type.ages;
            if ages.len() > SLACK + 4 * active {
                ages.retain(|Reverse((_, saga))| is_live(*saga));
            }
            while ages.peek().is_some_and(|Reverse((_, saga))| !is_live(*saga)) {
                ages.pop();
            }
            let oldest = ages.peek().map_or(0, |Reverse((at, _))| now.since(*at));
            of_type.oldest.set(seconds(oldest));
        }
    }
}

impl Drop for Metrics {
    /// Whatever is still active when the engine goes is somebody else's from now on.
    fn drop(&mut self) {
        for of_type in &mut self.types {
            let left = of_type.running.value + of_type.compensating.value;
            of_type
                .released
                .increment(u64::try_from(left).unwrap_or(u64::MAX));
            of_type.oldest.set(0.0);
            let levels = [&mut of_type.running, &mut of_type.compensating];
            levels
                .into_iter()
                .chain(&mut of_type.attention)
                .for_each(|level| level.set(0));
        }
        for participant in &mut self.participants {
            participant.in_flight.set(0);
            participant.waiting.set(0);
            participant.circuit.set(0.0);
        }
    }
}

impl OfType {
    fn new(name: &Arc<str>) -> Self {
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
    fn leave(&mut self, counted: Counted) {
        self.level(counted.phase).down();
        self.attend(counted.attention, 0);
    }

    fn attend(&mut self, before: u16, now: u16) {
        for (position, level) in self.attention.iter_mut().enumerate() {
            match (before >> position & 1, now >> position & 1) {
                (0, 1) => level.up(),
                (1, 0) => level.down(),
                _ => {}
            }
        }
    }

    fn level(&mut self, phase: Phase) -> &mut Level {
        match phase {
            Phase::Running => &mut self.running,
            Phase::Compensating | Phase::Completed | Phase::Compensated | Phase::Resolved => {
                &mut self.compensating
            }
        }
    }
}

impl OfDefinition {
    fn new(saga_type: &Arc<str>, plan: &Plan) -> Self {
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
}

fn bits(attention: &[Attention]) -> u16 {
    attention
        .iter()
        .fold(0, |bits, attention| bits | bit(attention.cause))
}

fn bit(cause: Cause) -> u16 {
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
    pub(super) fn of(result: &CallResult) -> Self {
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

fn describe() {
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
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn as_float(count: usize) -> f64 {
    count as f64
}
