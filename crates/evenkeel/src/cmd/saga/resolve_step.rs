//! `evenkeel saga resolve-step`.

use proto::saga::v1::{OperatorAction, ResolveStepFailedRequest, ResolveStepSucceededRequest};

use super::Session;
use super::decision::{Decision, Op, Target};
use crate::client::{self, CALL_TIMEOUT};
use crate::cmd::input;
use crate::exit::{Code, Failure};

/// Records how an operation went that will not tell by itself
///
/// With --succeeded the saga goes on as if the participant had answered so; the reply is checked against its type. With
/// --failed the saga unwinds: say it only of an action that certainly has no effect and never will, and only before the
/// commit point.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel saga resolve-step saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b CALL_PROVIDER_REFUND \\
      --succeeded '{\"providerRefundNo\": \"5012\"}' --evidence 'books of the provider, line 12' --reason 'reply lost'
  evenkeel saga resolve-step saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b RUN_PIPELINE --failed \\
      --evidence 'ticket 4711: the provider never got it' --reason 'provider closed'")]
#[command(group(clap::ArgGroup::new("outcome").required(true)))]
pub(super) struct Args {
    #[command(flatten)]
    decision: Decision,
    /// Step
    #[arg(value_name = "STEP")]
    step: String,
    #[command(flatten)]
    target: Target,
    /// It succeeded, with this reply: JSON, @FILE, or @- for standard input; {} is the empty reply
    #[arg(long, value_name = "JSON", group = "outcome")]
    succeeded: Option<String>,
    /// It certainly had no effect, and never will
    #[arg(long, group = "outcome")]
    failed: bool,
    /// What proves it; for example a number from the provider's books
    #[arg(long, value_name = "TEXT")]
    evidence: String,
}

pub(super) async fn run(session: Session, args: Args) -> Result<Code, Failure> {
    match args.succeeded.clone() {
        Some(reply) => succeeded(session, args, input::json_text(&reply)?).await,
        None => failed(session, args).await,
    }
}

async fn succeeded(mut session: Session, args: Args, reply_json: String) -> Result<Code, Failure> {
    let action = OperatorAction::ResolveStepSucceeded;
    let decided = session
        .decide_on(&args.decision, action, &args.step, &args.target)
        .await?;
    let request = ResolveStepSucceededRequest {
        saga_id: args.decision.saga_id,
        reason: args.decision.reason,
        expected_version: Some(decided.version),
        step: args.step,
        index: args.target.index,
        op: decided.op,
        reply_json,
        evidence: args.evidence,
    };
    let call = client::request(request, CALL_TIMEOUT);
    match session.operators.resolve_step_succeeded(call).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            session.acted(
                "evenkeel.saga.v1.ResolveStepSucceededResponse",
                &answer,
                answer.saga.as_ref(),
            )
        }
        Err(status) => Err(session.failure(&status)),
    }
}

async fn failed(mut session: Session, args: Args) -> Result<Code, Failure> {
    if args.target.op == Some(Op::Compensation) {
        return Err(Failure::new(
            Code::Usage,
            "a compensation cannot be resolved as failed: nobody could undo what it left",
        )
        .next("if its work was done by hand: `evenkeel saga skip ID STEP`"));
    }
    let action = OperatorAction::ResolveStepFailed;
    let decided = session
        .decide_on(&args.decision, action, &args.step, &args.target)
        .await?;
    let request = ResolveStepFailedRequest {
        saga_id: args.decision.saga_id,
        reason: args.decision.reason,
        expected_version: Some(decided.version),
        step: args.step,
        index: args.target.index,
        evidence: args.evidence,
    };
    let call = client::request(request, CALL_TIMEOUT);
    match session.operators.resolve_step_failed(call).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            session.acted(
                "evenkeel.saga.v1.ResolveStepFailedResponse",
                &answer,
                answer.saga.as_ref(),
            )
        }
        Err(status) => Err(session.failure(&status)),
    }
}
