//! What every action of an operator needs: which saga, why, and on which state it was decided.

use chrono::Utc;
use proto::saga::v1::{GetSagaRequest, OperatorAction, Saga};

use super::Session;
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::output;
use crate::render;

/// A decision about one saga.
#[derive(Debug, clap::Args)]
pub(super) struct Decision {
    /// Id of the saga
    #[arg(value_name = "SAGA")]
    pub(super) saga_id: String,
    /// Why; kept in the audit with your name ($EVENKEEL_ACTOR, else the login name)
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: String,
    /// Version of the saga on which you decided, as `show` and `why` print it; without it the saga is read and shown
    /// now, and what was read counts. If it has changed since, nothing is done and the exit code is 75
    #[arg(long, value_name = "VERSION")]
    pub(super) expect: Option<u32>,
}

/// One operation of a saga.
#[derive(Debug, clap::Args)]
pub(super) struct Target {
    /// Index of a fanned-out step
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(super) index: u32,
    /// Which operation of the step; without it, the one that the saga lets you act on
    #[arg(long, value_enum, value_name = "OP")]
    pub(super) op: Option<Op>,
}

/// The two operations of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Op {
    Action,
    Compensation,
}

impl Op {
    /// Name as the API has it.
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Compensation => "compensation",
        }
    }
}

/// A decision that can be sent.
pub(super) struct Decided {
    pub(super) version: u32,
    /// Empty where the server's own default is meant.
    pub(super) op: String,
}

impl Session {
    /// Finds out on which version of the saga a decision is made; reads and shows the saga unless that was said.
    pub(super) async fn decide(&mut self, decision: &Decision) -> Result<u32, Failure> {
        match decision.expect {
            Some(version) => Ok(version),
            None => Ok(self.look(&decision.saga_id).await?.state_version),
        }
    }

    /// As [`decide`](Self::decide), for one operation of the saga.
    pub(super) async fn decide_on(
        &mut self,
        decision: &Decision,
        action: OperatorAction,
        step: &str,
        target: &Target,
    ) -> Result<Decided, Failure> {
        if let (Some(version), Some(op)) = (decision.expect, target.op) {
            let op = op.text().to_owned();
            return Ok(Decided { version, op });
        }
        let saga = self.look(&decision.saga_id).await?;
        if !saga.steps.is_empty() && saga.steps.iter().all(|known| known.name != step) {
            let names: Vec<&str> = saga.steps.iter().map(|known| known.name.as_str()).collect();
            return Err(Failure::new(
                Code::Usage,
                format!("the saga has no step {step}; it has: {}", names.join(" ")),
            )
            .next(format!("see them with `evenkeel saga show {}`", saga.saga_id)));
        }
        let op = match target.op {
            Some(op) => op.text().to_owned(),
            None => only_op(&saga, action, step, target.index).unwrap_or_default(),
        };
        let version = decision.expect.unwrap_or(saga.state_version);
        Ok(Decided { version, op })
    }

    /// Reads a saga and shows on standard error what is about to be acted on.
    async fn look(&mut self, saga_id: &str) -> Result<Saga, Failure> {
        let request = GetSagaRequest {
            saga_id: saga_id.to_owned(),
            ..GetSagaRequest::default()
        };
        let answer = match self.sagas.get_saga(client::request(request, CALL_TIMEOUT)).await {
            Ok(response) => response.into_inner(),
            Err(status) => return Err(self.failure(&status)),
        };
        let saga = answer.saga.unwrap_or_default();
        output::remark(render::why::glance(&saga, Utc::now()).trim_end());
        Ok(saga)
    }

    /// Prints the saga as it stands after an action.
    pub(super) fn acted<M: prost::Message>(
        &self,
        type_name: &str,
        answer: &M,
        saga: Option<&Saga>,
    ) -> Result<Code, Failure> {
        self.print(type_name, answer, |colour| {
            let now = Utc::now();
            saga.map_or_else(String::new, |saga| {
                let mut text = render::saga::list(std::slice::from_ref(saga), now).render(colour);
                text.push_str(&render::why::waits(saga, now, colour));
                text
            })
        })?;
        Ok(Code::Ok)
    }
}

/// The operation of a step that the saga allows an action on, if there is exactly one.
fn only_op(saga: &Saga, action: OperatorAction, step: &str, index: u32) -> Option<String> {
    let mut allowed = saga
        .allowed_actions
        .iter()
        .filter(|allowed| allowed.action() == action && allowed.step == step && allowed.index == index);
    match (allowed.next(), allowed.next()) {
        (Some(only), None) => Some(only.op.clone()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proto::saga::v1::AllowedAction;

    use super::*;

    #[test]
    fn the_operation_is_guessed_only_where_there_is_one() {
        let allow = |action: OperatorAction, step: &str, op: &str| AllowedAction {
            action: action.into(),
            step: step.to_owned(),
            index: 0,
            op: op.to_owned(),
        };
        let saga = Saga {
            allowed_actions: vec![
                allow(OperatorAction::RetryNow, "A", "compensation"),
                allow(OperatorAction::SkipStep, "B", "action"),
                allow(OperatorAction::SkipStep, "B", "compensation"),
            ],
            ..Saga::default()
        };
        let found = |action, step| only_op(&saga, action, step, 0);
        assert_eq!(
            found(OperatorAction::RetryNow, "A").as_deref(),
            Some("compensation")
        );
        assert_eq!(found(OperatorAction::SkipStep, "B"), None);
        assert_eq!(found(OperatorAction::RetryNow, "B"), None);
    }
}
