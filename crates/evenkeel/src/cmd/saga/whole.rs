//! Actions on a saga as a whole: `evenkeel saga compensate`, `resolve`, `pause`, `resume`, `release`, `acknowledge`.

use proto::saga::v1::{
    AcknowledgeAttentionRequest, CompensateSagaRequest, PauseSagaRequest, ReleaseSagaRequest,
    ResolveSagaRequest, ResumeSagaRequest,
};

use super::Session;
use super::decision::Decision;
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};

/// Makes a saga unwind: everything that may have run is undone
///
/// Only before the commit point. `cancel` does the same on behalf of whoever started the saga; this is for operators, and
/// the saga's reason becomes OPERATOR.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  evenkeel saga compensate saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b --reason 'the order was fraudulent'")]
pub(super) struct Compensate {
    #[command(flatten)]
    decision: Decision,
}

pub(super) async fn compensate(mut session: Session, args: Compensate) -> Result<Code, Failure> {
    let version = session.decide(&args.decision).await?;
    let request = CompensateSagaRequest {
        saga_id: args.decision.saga_id,
        reason: args.decision.reason,
        expected_version: Some(version),
    };
    let call = client::request(request, CALL_TIMEOUT);
    match session.operators.compensate_saga(call).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            session.acted(
                "evenkeel.saga.v1.CompensateSagaResponse",
                &answer,
                answer.saga.as_ref(),
            )
        }
        Err(status) => Err(session.failure(&status)),
    }
}

/// Ends a saga as RESOLVED, whatever is open; the last resort
///
/// Nothing is called any more: what you leave undone stays undone. Look at `evenkeel saga why` first: retry, skip and
/// resolve-step settle one operation and let the rest go its way.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  evenkeel saga resolve saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b \\
      --evidence 'ticket 4711: paid out by hand' --reason 'the provider is gone for good'")]
pub(super) struct Resolve {
    #[command(flatten)]
    decision: Decision,
    /// What was done instead
    #[arg(long, value_name = "TEXT")]
    evidence: String,
}

pub(super) async fn resolve(mut session: Session, args: Resolve) -> Result<Code, Failure> {
    let version = session.decide(&args.decision).await?;
    let request = ResolveSagaRequest {
        saga_id: args.decision.saga_id,
        reason: args.decision.reason,
        expected_version: Some(version),
        evidence: args.evidence,
    };
    let call = client::request(request, CALL_TIMEOUT);
    match session.operators.resolve_saga(call).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            session.acted(
                "evenkeel.saga.v1.ResolveSagaResponse",
                &answer,
                answer.saga.as_ref(),
            )
        }
        Err(status) => Err(session.failure(&status)),
    }
}

/// Holds back the calls of a saga
///
/// Answers to calls in flight are still recorded, and the deadline goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  evenkeel saga pause saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b --reason 'looking into it'")]
pub(super) struct Pause {
    #[command(flatten)]
    decision: Decision,
}

pub(super) async fn pause(mut session: Session, args: Pause) -> Result<Code, Failure> {
    let version = session.decide(&args.decision).await?;
    let request = PauseSagaRequest {
        saga_id: args.decision.saga_id,
        reason: args.decision.reason,
        expected_version: Some(version),
    };
    let call = client::request(request, CALL_TIMEOUT);
    match session.operators.pause_saga(call).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            session.acted(
                "evenkeel.saga.v1.PauseSagaResponse",
                &answer,
                answer.saga.as_ref(),
            )
        }
        Err(status) => Err(session.failure(&status)),
    }
}

/// Ends the pause of a saga
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  evenkeel saga resume saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b --reason 'looked into it'")]
pub(super) struct Resume {
    #[command(flatten)]
    decision: Decision,
}

pub(super) async fn resume(mut session: Session, args: Resume) -> Result<Code, Failure> {
    let version = session.decide(&args.decision).await?;
    let request = ResumeSagaRequest {
        saga_id: args.decision.saga_id,
        reason: args.decision.reason,
        expected_version: Some(version),
    };
    let call = client::request(request, CALL_TIMEOUT);
    match session.operators.resume_saga(call).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            session.acted(
                "evenkeel.saga.v1.ResumeSagaResponse",
                &answer,
                answer.saga.as_ref(),
            )
        }
        Err(status) => Err(session.failure(&status)),
    }
}

/// Drives a quarantined saga again
///
/// A saga is quarantined when handling it broke the orchestrator. Release it after a version is deployed that mends that;
/// otherwise it is quarantined again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  evenkeel saga release saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b --reason 'version 1.4 reads its event'")]
pub(super) struct Release {
    #[command(flatten)]
    decision: Decision,
}

pub(super) async fn release(mut session: Session, args: Release) -> Result<Code, Failure> {
    let version = session.decide(&args.decision).await?;
    let request = ReleaseSagaRequest {
        saga_id: args.decision.saga_id,
        reason: args.decision.reason,
        expected_version: Some(version),
    };
    let call = client::request(request, CALL_TIMEOUT);
    match session.operators.release_saga(call).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            session.acted(
                "evenkeel.saga.v1.ReleaseSagaResponse",
                &answer,
                answer.saga.as_ref(),
            )
        }
        Err(status) => Err(session.failure(&status)),
    }
}

/// Takes note of what needs attention, without changing anything else
///
/// It comes back if its cause comes back.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  evenkeel saga acknowledge saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b --reason 'paid back by hand, ticket 4711'")]
pub(super) struct Acknowledge {
    #[command(flatten)]
    decision: Decision,
}

pub(super) async fn acknowledge(mut session: Session, args: Acknowledge) -> Result<Code, Failure> {
    let version = session.decide(&args.decision).await?;
    let request = AcknowledgeAttentionRequest {
        saga_id: args.decision.saga_id,
        reason: args.decision.reason,
        expected_version: Some(version),
    };
    let call = client::request(request, CALL_TIMEOUT);
    match session.operators.acknowledge_attention(call).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            session.acted(
                "evenkeel.saga.v1.AcknowledgeAttentionResponse",
                &answer,
                answer.saga.as_ref(),
            )
        }
        Err(status) => Err(session.failure(&status)),
    }
}
