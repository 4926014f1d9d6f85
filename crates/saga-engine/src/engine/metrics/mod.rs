//! What the engine counts. The names and labels of its metrics are in [`series`].
//!
//! Handles are looked up once: for a type and a definition when the first saga of it is seen, which also shows every series
//! of it as 0. Only durable changes are counted, so that of every type and process
//! `started + adopted = completed + compensated + resolved + released + active`.

mod series;

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use ids::SagaId;
use saga_core::{Attention, Cause, Millis, OpKey, Phase};

pub(super) use series::Ending;
use series::{OfDefinition, OfInstance, OfParticipant, OfType, as_float, bit, bits, describe, seconds};

use super::breaker::Circuit;
use crate::journal::{DefinitionId, Identity};
use crate::participants::{ParticipantId, ParticipantStatus};

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

/// All handles, and what they were last told.
pub(super) struct Metrics {
    types: Vec<OfType>,
    by_name: HashMap<Arc<str>, usize>,
    definitions: Vec<OfDefinition>,
    by_definition: HashMap<DefinitionId, usize>,
    participants: Vec<OfParticipant>,
    instance: OfInstance,
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
        Self {
            types: Vec::new(),
            by_name: HashMap::new(),
            definitions: Vec::new(),
            by_definition: HashMap::new(),
            participants: participants
                .map(|participant| OfParticipant::new(&participant))
                .collect(),
            instance: OfInstance::new(),
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
        of_type.leave(counted.phase, counted.attention);
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
        of_type.leave(counted.phase, counted.attention);
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
        self.instance.claim_lag.record(seconds(lag_ms));
        if repeated {
            self.definitions[series.definition].repeated(key);
        }
    }

    /// A call has ended.
    pub(super) fn answered(&self, series: Series, key: OpKey, probe: bool, ending: Ending, duration_ms: u64) {
        self.definitions[series.definition].answered(key, probe, ending, duration_ms);
    }

    /// A batch goes to the journal.
    pub(super) fn batch(&self, size: usize) {
        self.instance.batch_size.record(as_float(size));
    }

    /// The journal refused a write because another process has this instance's place.
    pub(super) fn fenced(&self) {
        self.instance.fenced_writes.increment(1);
    }

    /// The state of a saga breaks this invariant.
    pub(super) fn broken(&self, invariant: &'static str) {
        self.instance.broken(invariant);
    }

    /// A participant's gate has changed.
    pub(super) fn participant(
        &mut self,
        participant: ParticipantId,
        (circuit, in_flight, waiting): (Circuit, usize, usize),
    ) {
        if let Some(of) = self.participants.get_mut(participant.0) {
            of.show(circuit, in_flight, waiting);
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
            participant.show(Circuit::Closed, 0, 0);
        }
    }
}
