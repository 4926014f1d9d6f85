//! What a call is answered with, from a result or from its row.

use std::time::Duration;

use prost::Message;
use rpc::error::Reason;
use rpc::step::{self, Op, StepCall};
use sqlx::PgTransaction;
use tonic::{Code, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::decide::Decision;
use crate::rows::{self, Key, Row, StoredRefusal};
use crate::{Refusal, failure};

pub(crate) fn key<'a>(call: &'a StepCall, domain: &str) -> Result<Key<'a>, Status> {
    let index = i32::try_from(call.index)
        .map_err(|_| Reason::StepMetadataInvalid.status(domain, "header evenkeel-index is too large"))?;
    Ok(Key {
        saga_id: call.saga_id,
        step: &call.step,
        index,
    })
}

/// Answers a repeated call from its row. The outer error means that the row is damaged.
pub(crate) fn replay<R: Message + Default>(
    decision: Decision,
    row: Option<Row>,
    domain: &str,
) -> Result<Result<Response<R>, Status>, sqlx::Error> {
    match decision {
        Decision::StoredReply => {
            let bytes = row.and_then(|r| r.reply).ok_or(sqlx::Error::RowNotFound)?;
            Ok(Ok(stored_bytes(&bytes)?))
        }
        Decision::StoredRefusal => {
            let refusal = row.and_then(|r| r.refusal).ok_or(sqlx::Error::RowNotFound)?;
            Ok(Err(refused_before(refusal, domain)))
        }
        Decision::Mismatch => {
            let text = "this step was called before with another request";
            Ok(Err(Reason::BarrierMismatch.status(domain, text)))
        }
        Decision::Superseded | Decision::NothingToUndo | Decision::Work { .. } => {
            let text = "a compensation of this step came first";
            Ok(Err(Reason::Superseded.status(domain, text)))
        }
    }
}

fn refused_before(refusal: StoredRefusal, domain: &str) -> Status {
    let details = ErrorDetails::with_error_info(refusal.reason, domain, refusal.facts);
    let mut status = Status::with_error_details(Code::from_i32(refusal.code), refusal.message, details);
    step::set_stored(status.metadata_mut());
    status
}

/// Stores the final reply, commits, and answers it.
pub(crate) async fn keep_reply<R: Message>(
    mut tx: PgTransaction<'_>,
    key: Key<'_>,
    op: Op,
    reply: R,
) -> Result<Response<R>, sqlx::Error> {
    rows::store_reply(&mut tx, key, op, &reply.encode_to_vec()).await?;
    tx.commit().await?;
    Ok(stored(reply))
}

/// Stores the refusal of an action, commits, and answers it.
pub(crate) async fn keep_refusal(
    mut tx: PgTransaction<'_>,
    key: Key<'_>,
    refusal: &Refusal,
    domain: &str,
) -> Result<Status, sqlx::Error> {
    rows::store_refusal(&mut tx, key, Op::Action, refusal).await?;
    tx.commit().await?;
    let mut status = refusal.status(domain);
    step::set_stored(status.metadata_mut());
    Ok(status)
}

/// Answers a reply from its stored encoding.
pub(crate) fn stored_bytes<R: Message + Default>(bytes: &[u8]) -> Result<Response<R>, sqlx::Error> {
    let reply = R::decode(bytes).map_err(|e| sqlx::Error::Decode(e.into()))?;
    Ok(stored(reply))
}

pub(crate) fn stored<R>(reply: R) -> Response<R> {
    let mut response = Response::new(reply);
    step::set_stored(response.metadata_mut());
    response
}

/// Answers "not yet".
pub(crate) fn pending<R: Default>(ask_again: Duration) -> Response<R> {
    let mut response = Response::new(R::default());
    step::set_pending(response.metadata_mut(), ask_again);
    response
}

/// Logs a failure and turns it into a status that leaves the outcome unknown.
pub(crate) fn unknown(call: &StepCall, domain: &str, error: &(dyn std::error::Error + 'static)) -> Status {
    let reason = failure::reason(error);
    tracing::warn!(
        saga_id = %call.saga_id,
        step = %call.step,
        index = call.index,
        op = call.op.name(),
        attempt = call.attempt,
        reason = reason.name(),
        error = failure::chain(error),
        "step call failed"
    );
    reason.status(domain, "the outcome of this call is unknown; repeat it")
}

impl Refusal {
    pub(crate) fn status(&self, domain: &str) -> Status {
        let details = ErrorDetails::with_error_info(self.reason.name(), domain, self.facts.clone());
        Status::with_error_details(self.reason.code(), self.message.clone(), details)
    }
}
