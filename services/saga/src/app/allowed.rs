//! What an operator may do with a saga as it stands.

use proto::saga::v1 as pb;
use saga_core::{Allowed, Op, OperatorAction, Plan, State};

/// Lists what is allowed. A parked saga can only be released: nobody drives it.
pub(crate) fn list(state: &State, plan: &Plan, parked: bool) -> Vec<Allowed> {
    if parked {
        let action = OperatorAction::Release;
        return vec![Allowed { action, key: None }];
    }
    state.allowed(plan)
}

/// Renders the list.
pub(crate) fn render(allowed: &[Allowed], plan: &Plan) -> Vec<pb::AllowedAction> {
    let one = |allowed: &Allowed| pb::AllowedAction {
        action: proto_action(allowed.action).into(),
        step: allowed.key.map_or("", |key| plan.name(key.step)).to_owned(),
        index: allowed.key.map_or(0, |key| key.index),
        op: allowed.key.map_or("", |key| op_name(key.op)).to_owned(),
    };
    allowed.iter().map(one).collect()
}

/// Writes the list for people: `pause, resolve, retry_now ONE/action`.
pub(crate) fn text(allowed: &[Allowed], plan: &Plan) -> String {
    let names: Vec<String> = allowed.iter().map(|one| name(*one, plan)).collect();
    names.join(", ")
}

/// Writes one action for people, with the operation it concerns.
pub(crate) fn name(allowed: Allowed, plan: &Plan) -> String {
    let action = allowed.action.name();
    match allowed.key {
        None => action.to_owned(),
        Some(key) if key.index == 0 => format!("{action} {}/{}", plan.name(key.step), op_name(key.op)),
        Some(key) => format!(
            "{action} {}[{}]/{}",
            plan.name(key.step),
            key.index,
            op_name(key.op)
        ),
    }
}

/// Returns the name of an action on the wire.
pub(crate) const fn proto_action(action: OperatorAction) -> pb::OperatorAction {
    match action {
        OperatorAction::RetryNow => pb::OperatorAction::RetryNow,
        OperatorAction::ResolveSucceeded => pb::OperatorAction::ResolveStepSucceeded,
        OperatorAction::ResolveFailed => pb::OperatorAction::ResolveStepFailed,
        OperatorAction::Skip => pb::OperatorAction::SkipStep,
        OperatorAction::Compensate => pb::OperatorAction::Compensate,
        OperatorAction::Resolve => pb::OperatorAction::ResolveSaga,
        OperatorAction::Pause => pb::OperatorAction::Pause,
        OperatorAction::Resume => pb::OperatorAction::Resume,
        OperatorAction::Release => pb::OperatorAction::Release,
        OperatorAction::Acknowledge => pb::OperatorAction::Acknowledge,
        OperatorAction::Cancel => pb::OperatorAction::Cancel,
    }
}

const fn op_name(op: Op) -> &'static str {
    match op {
        Op::Action => "action",
        Op::Compensation => "compensation",
    }
}
