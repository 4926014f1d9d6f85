//! How a saga is shown.

use ids::SagaId;
use prost_types::Timestamp;
use proto::saga::v1 as pb;
use saga_core::{
    Attention, Cause, Clock, Millis, Op, OpKey, OpState, Phase, Plan, Reason, Run, State, StepError,
};
use saga_engine::{Entry, Snapshot, Wait};

use crate::app::operations::Known;
use crate::app::{allowed, why};
use crate::definitions::Compiled;
use crate::journal::{OpenOperation, Quarantine, Stored};

/// Everything known about a saga that is to be shown.
///
/// A snapshot of the engine knows the state only; the journal also knows instants, requests and numbers of attempts.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) id: SagaId,
    pub(crate) saga_type: &'a str,
    pub(crate) version: u32,
    pub(crate) revision: u32,
    pub(crate) business_id: &'a str,
    pub(crate) input_json: &'a str,
    pub(crate) created_at: Millis,
    pub(crate) updated_at: Millis,
    pub(crate) owner: &'a str,
    /// Present if the saga is parked.
    pub(crate) parked: Option<&'a Quarantine>,
    /// An operator holds back the calls of the saga or of its type, as far as the journal says.
    pub(crate) type_paused: bool,
    /// What its open operations wait for, where the instance that drives it says so.
    pub(crate) waits: Option<&'a [(OpKey, Wait)]>,
    pub(crate) plan: &'a Plan,
    pub(crate) state: &'a State,
    pub(crate) events: u32,
    pub(crate) entries: &'a [Entry],
}

impl<'a> Shown<'a> {
    /// Shows what the engine answered.
    pub(crate) fn of_snapshot(snapshot: &'a Snapshot, compiled: &Compiled, owner: &'a str) -> Self {
        let identity = &*snapshot.identity;
        Self {
            id: identity.id,
            saga_type: &identity.saga_type,
            version: compiled.version(),
            revision: compiled.revision(),
            business_id: &identity.business_id,
            input_json: identity.input.json(),
            created_at: identity.start.at,
            updated_at: snapshot.at,
            owner,
            parked: None,
            type_paused: snapshot.waits.iter().any(|(_, wait)| *wait == Wait::TypePaused),
            waits: Some(&snapshot.waits),
            plan: &identity.plan,
            state: &snapshot.state,
            events: snapshot.events,
            entries: &[],
        }
    }

    /// Renders the saga with its steps.
    pub(crate) fn render(&self) -> pb::Saga {
        let phase = self.state.phase();
        let attention = self.attention();
        let ended_at = |wanted| (phase == wanted).then(|| timestamp(self.updated_at));
        pb::Saga {
            saga_id: self.id.to_string(),
            r#type: self.saga_type.to_owned(),
            definition_version: self.version,
            definition_revision: self.revision,
            business_id: self.business_id.to_owned(),
            phase: proto_phase(phase).into(),
            reason: self
                .state
                .reason()
                .map_or(pb::SagaReason::Unspecified, proto_reason)
                .into(),
            current_step: current_step(self.plan, self.state).to_owned(),
            error: self.error(),
            needs_attention: !attention.is_empty(),
            attention,
            state_version: self.events.saturating_add(u32::from(phase.is_ended())),
            created_at: Some(timestamp(self.created_at)),
            updated_at: Some(timestamp(self.updated_at)),
            deadline_at: deadline(self.state.clock(), phase).map(timestamp),
            completed_at: ended_at(Phase::Completed),
            compensated_at: ended_at(Phase::Compensated),
            input_json: self.input_json.to_owned(),
            owner: self.owner.to_owned(),
            steps: self.steps(),
            committed: self.state.committed(),
            paused: self.paused(),
            quarantined: self.parked.is_some(),
            allowed_actions: allowed::render(
                &allowed::list(self.state, self.plan, self.parked.is_some()),
                self.plan,
            ),
        }
    }

    fn paused(&self) -> bool {
        !self.state.phase().is_ended() && (self.type_paused || self.state.paused().is_some())
    }

    /// The failure that a person wants to read first: what turned the saga round, or else what holds it up.
    fn error(&self) -> Option<pb::SagaError> {
        let name = |step| self.plan.name(step).to_owned();
        if let Some(error) = self.state.error() {
            return Some(proto_error(
                error,
                self.state.failed_step().map(name).unwrap_or_default(),
            ));
        }
        let blocking = self.state.runs().iter().find_map(|run| {
            let ops = [&run.action, &run.compensation];
            let error = ops
                .into_iter()
                .filter_map(OpState::open)
                .find_map(|open| open.last_error.as_ref())?;
            Some((run.step, error))
        });
        blocking.map(|(step, error)| proto_error(error, name(step)))
    }

    fn attention(&self) -> Vec<pb::Attention> {
        let name = |step| self.plan.name(step);
        let parked = self.parked.map(proto_quarantine);
        let rest = self
            .state
            .attention()
            .map(|attention| proto_attention(&attention, name));
        parked.into_iter().chain(rest).collect()
    }

    fn steps(&self) -> Vec<pb::SagaStep> {
        let known = Known::of(self.entries);
        let step = |run: &Run| {
            let key = |op| OpKey {
                step: run.step,
                index: run.index,
                op,
            };
            let compensated = self
                .plan
                .steps()
                .get(usize::from(run.step))
                .is_some_and(|step| step.compensated);
            pb::SagaStep {
                name: self.plan.name(run.step).to_owned(),
                order: u32::from(run.step) + 1,
                index: run.index,
                action: Some(self.operation(&known, key(Op::Action), &run.action)),
                compensation: compensated
                    .then(|| self.operation(&known, key(Op::Compensation), &run.compensation)),
                after: self.after(run.step),
            }
        };
        self.state.runs().iter().map(step).collect()
    }
}

impl Shown<'_> {
    fn operation(&self, known: &Known<'_>, key: OpKey, state: &OpState) -> pb::Operation {
        let mut shown = known.operation(key, state);
        if let Some(open) = state.open().filter(|_| !self.state.phase().is_ended()) {
            shown.wait = match self.waits {
                Some(waits) => {
                    let known = waits.iter().find(|(waiting, _)| *waiting == key);
                    known.and_then(|(_, wait)| why::of_engine(wait))
                }
                None => why::of_state(open, self.parked.is_some(), self.paused()),
            };
        }
        shown
    }

    fn after(&self, step: u16) -> Vec<String> {
        let after = self.plan.steps().get(usize::from(step)).map(|step| &step.after);
        let name = |&before: &u16| self.plan.name(before).to_owned();
        after.into_iter().flatten().map(name).collect()
    }
}

/// The lowest unfinished step while the saga goes forward; the step being undone while it unwinds.
fn current_step<'a>(plan: &'a Plan, state: &State) -> &'a str {
    let step = match state.phase() {
        Phase::Running => state.runs().iter().find(|run| !run.action.done()),
        Phase::Compensating => state.runs().iter().rev().find(|run| {
            let waits = run.action.open().is_some() || run.watched_until.is_some();
            waits || run.compensation.open().is_some()
        }),
        Phase::Completed | Phase::Compensated | Phase::Resolved => None,
    };
    step.map_or("", |run| plan.name(run.step))
}

fn deadline(clock: Clock, phase: Phase) -> Option<Millis> {
    match clock {
        Clock::Running { until } if !phase.is_ended() => Some(until),
        Clock::Running { .. } | Clock::Stopped { .. } => None,
    }
}

fn proto_attention<'n>(attention: &Attention, name: impl Fn(u16) -> &'n str) -> pb::Attention {
    pb::Attention {
        cause: attention.cause.name().to_owned(),
        step: attention.step.map_or("", name).to_owned(),
        since: Some(timestamp(attention.since)),
        detail: String::new(),
    }
}

fn proto_quarantine(quarantine: &Quarantine) -> pb::Attention {
    pb::Attention {
        cause: Cause::Quarantined.name().to_owned(),
        step: String::new(),
        since: Some(timestamp(quarantine.since)),
        detail: quarantine.why.clone(),
    }
}

/// What is written beside a saga, with the text of why it is parked.
fn attention_of_row<'n>(stored: &Stored, name: impl Fn(u16) -> &'n str) -> Vec<pb::Attention> {
    let one = |attention: &Attention| match &stored.quarantine {
        Some(quarantine) if attention.cause == Cause::Quarantined => proto_quarantine(quarantine),
        Some(_) | None => proto_attention(attention, &name),
    };
    stored.row.attention.iter().map(one).collect()
}

/// Renders an open operation of a list as its step.
fn of_open(stored: &Stored, open: &OpenOperation) -> pb::SagaStep {
    let (state, waits) = match open.next_at {
        Some(at) => (
            pb::OperationState::Retrying,
            wait(pb::WaitKind::Backoff, Some(at)),
        ),
        None if open.pending => (pb::OperationState::Pending, wait(pb::WaitKind::Pending, None)),
        None => (pb::OperationState::Running, None),
    };
    let held = if stored.quarantined {
        wait(pb::WaitKind::Quarantined, None)
    } else if stored.paused {
        wait(pb::WaitKind::Paused, None)
    } else {
        waits
    };
    let operation = Some(pb::Operation {
        state: state.into(),
        attempts: open.attempts,
        next_retry_at: open.next_at.map(timestamp),
        last_error: (open.last_error.as_ref()).map(|error| proto_error(error, String::new())),
        wait: held,
        last_error_class: open.last_error_class.clone().unwrap_or_default(),
        ..pb::Operation::default()
    });
    let (action, compensation) = match open.op {
        Op::Action => (operation, None),
        Op::Compensation => (None, operation),
    };
    pb::SagaStep {
        name: open.name.clone(),
        order: u32::from(open.step) + 1,
        index: open.index,
        action,
        compensation,
        after: Vec::new(),
    }
}

fn wait(kind: pb::WaitKind, until: Option<Millis>) -> Option<pb::Wait> {
    Some(pb::Wait {
        kind: kind.into(),
        until: until.map(timestamp),
        text: String::new(),
    })
}

/// Renders a saga of a list, with its open operations if they are known.
pub(crate) fn of_row(stored: &Stored) -> pb::Saga {
    let names = &stored.definition;
    let name = |step: u16| {
        let step = usize::from(step);
        let epilogue = names.epilogue.as_deref().filter(|_| step == names.steps.len());
        names
            .steps
            .get(step)
            .map(String::as_str)
            .or(epilogue)
            .unwrap_or_default()
    };
    let row = &stored.row;
    let ended_at = |wanted| stored.ended_at.filter(|_| row.phase == wanted).map(timestamp);
    pb::Saga {
        saga_id: stored.id.to_string(),
        r#type: names.name.clone(),
        definition_version: names.version,
        definition_revision: names.revision,
        business_id: stored.business_id.clone(),
        phase: proto_phase(row.phase).into(),
        reason: row
            .reason
            .map_or(pb::SagaReason::Unspecified, proto_reason)
            .into(),
        current_step: stored.current_step.clone().unwrap_or_default(),
        error: (row.error.as_ref())
            .map(|error| proto_error(error, row.failed_step.map_or("", name).to_owned())),
        needs_attention: stored.needs_attention,
        attention: attention_of_row(stored, name),
        state_version: stored.event_count.saturating_add(u32::from(row.phase.is_ended())),
        created_at: Some(timestamp(stored.created_at)),
        updated_at: Some(timestamp(stored.updated_at)),
        deadline_at: deadline(row.clock, row.phase).map(timestamp),
        completed_at: ended_at(Phase::Completed),
        compensated_at: ended_at(Phase::Compensated),
        input_json: stored.input.clone(),
        owner: stored.owner.clone(),
        steps: stored.open.iter().map(|open| of_open(stored, open)).collect(),
        committed: row.committed,
        paused: stored.paused && !row.phase.is_ended(),
        quarantined: stored.quarantined && !row.phase.is_ended(),
        ..pb::Saga::default()
    }
}

pub(crate) const fn proto_phase(phase: Phase) -> pb::SagaPhase {
    match phase {
        Phase::Running => pb::SagaPhase::Running,
        Phase::Compensating => pb::SagaPhase::Compensating,
        Phase::Completed => pb::SagaPhase::Completed,
        Phase::Compensated => pb::SagaPhase::Compensated,
        Phase::Resolved => pb::SagaPhase::Resolved,
    }
}

pub(crate) const fn proto_reason(reason: Reason) -> pb::SagaReason {
    match reason {
        Reason::Refused => pb::SagaReason::Refused,
        Reason::Timeout => pb::SagaReason::Timeout,
        Reason::Cancelled => pb::SagaReason::Cancelled,
        Reason::Operator => pb::SagaReason::Operator,
        Reason::Exhausted => pb::SagaReason::Exhausted,
    }
}

pub(crate) fn proto_error(error: &StepError, step: String) -> pb::SagaError {
    pb::SagaError {
        step,
        code: error.code.to_string(),
        reason: error.reason.to_string(),
        domain: error.domain.to_string(),
        message: error.message.to_string(),
    }
}

pub(crate) fn timestamp(at: Millis) -> Timestamp {
    let nanos = i32::try_from(at.0.rem_euclid(1_000) * 1_000_000).expect("below a second");
    Timestamp {
        seconds: at.0.div_euclid(1_000),
        nanos,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_instant_is_shown_as_a_valid_timestamp(ms: i64) {
            let shown = timestamp(Millis(ms));
            prop_assert!((0..1_000_000_000).contains(&shown.nanos));
            prop_assert_eq!(i128::from(shown.seconds) * 1_000 + i128::from(shown.nanos / 1_000_000), i128::from(ms));
        }
    }
}
