//! `evenkeel saga retry`.

use proto::saga::v1::{OperatorAction, RetryNowRequest};

use super::Session;
use super::decision::{Decided, Decision, Target};
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};

/// Calls at once what waits for its next attempt
///
/// Use it when you know that the cause is gone; by itself a saga tries again within a minute. What needs attention goes
/// on needing it until it succeeds.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel saga retry saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b --reason 'the provider is back'
  evenkeel saga retry saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b RESERVE_QUOTA --op compensation --reason 'row mended'")]
pub(super) struct Args {
    #[command(flatten)]
    decision: Decision,
    /// Step; without it, every operation of the saga that waits for its next attempt
    #[arg(value_name = "STEP")]
    step: Option<String>,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(mut session: Session, args: Args) -> Result<Code, Failure> {
    let Args {
        decision,
        step,
        target,
    } = args;
    let decided = match &step {
        Some(step) => {
            session
                .decide_on(&decision, OperatorAction::RetryNow, step, &target)
                .await?
        }
        None if target.op.is_some() || target.index != 0 => {
            return Err(Failure::new(Code::Usage, "--op and --index need a step"));
        }
        None => Decided {
            version: session.decide(&decision).await?,
            op: String::new(),
        },
    };
    let request = RetryNowRequest {
        saga_id: decision.saga_id,
        reason: decision.reason,
        expected_version: Some(decided.version),
        step: step.unwrap_or_default(),
        index: target.index,
        op: decided.op,
    };
    let call = client::request(request, CALL_TIMEOUT);
    match session.operators.retry_now(call).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            session.acted("evenkeel.saga.v1.RetryNowResponse", &answer, answer.saga.as_ref())
        }
        Err(status) => Err(session.failure(&status)),
    }
}
