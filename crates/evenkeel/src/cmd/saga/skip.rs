//! `evenkeel saga skip`.

use proto::saga::v1::{OperatorAction, SkipStepRequest};

use super::Session;
use super::decision::{Decision, Target};
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};

/// Leaves out an operation that cannot be refused: a compensation, or a step after the commit point
///
/// For work that was done by hand, or is not needed any more. What is skipped is never called again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  evenkeel saga skip saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b RESERVE_QUOTA \\
      --evidence 'grant 812 given back by hand' --reason 'the account is closed'")]
pub(super) struct Args {
    #[command(flatten)]
    decision: Decision,
    /// Step
    #[arg(value_name = "STEP")]
    step: String,
    #[command(flatten)]
    target: Target,
    /// What proves that it is not needed any more
    #[arg(long, value_name = "TEXT")]
    evidence: String,
}

pub(super) async fn run(mut session: Session, args: Args) -> Result<Code, Failure> {
    let decided = session
        .decide_on(&args.decision, OperatorAction::SkipStep, &args.step, &args.target)
        .await?;
    let request = SkipStepRequest {
        saga_id: args.decision.saga_id,
        reason: args.decision.reason,
        expected_version: Some(decided.version),
        step: args.step,
        index: args.target.index,
        op: decided.op,
        evidence: args.evidence,
    };
    let call = client::request(request, CALL_TIMEOUT);
    match session.operators.skip_step(call).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            session.acted("evenkeel.saga.v1.SkipStepResponse", &answer, answer.saga.as_ref())
        }
        Err(status) => Err(session.failure(&status)),
    }
}
