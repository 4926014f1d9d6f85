//! Carries out what [`decide`](crate::decide) says, in one transaction.

use prost::Message;
use rpc::error::Reason;
use rpc::step::{self, Op, StepCall};
use sha2::{Digest as _, Sha256};
use sqlx::{Acquire, Connection, PgConnection, PgTransaction, Postgres};
use tonic::{Code, Response, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::decide::{self, ActionRow, Answer, Decision, Own, Settlement};
use crate::rows::{self, Key, Row, StoredRefusal};
use crate::{Again, Done, Refusal, Stop, failure};

/// Runs the work of a step call at most once, in a transaction of its own, and answers repeated calls from store.
///
/// `pool` (`&PgPool`, or what else one acquires from) gives connections whose `search_path` finds the participant's `barrier` table; `domain` is the participant's
/// error domain. `work` runs inside the transaction, after the barrier's rows are locked; it must not commit or roll
/// back. When it is told [`Again`], the operation is pending and the work looks at what it began.
///
/// Takes 5 round trips plus those of the work for a new action: begin, insert, savepoint, store, commit.
///
/// # Errors
/// * The work's refusal. It carries the mark of [`step::set_stored`] if it was stored.
/// * `SUPERSEDED`: a compensation of this action came first.
/// * `BARRIER_MISMATCH`: the key was used with another request.
/// * `STEP_METADATA_INVALID`: the index is above 2,147,483,647.
/// * `UNAVAILABLE` or `INTERNAL`: the outcome is unknown. The cause is in the log.
pub async fn run<'p, P, R, E, F>(
    pool: P,
    call: &StepCall,
    request: &impl Message,
    domain: &'static str,
    work: F,
) -> Result<Response<R>, Status>
where
    P: Acquire<'p, Database = Postgres>,
    R: Message + Default,
    E: Into<Stop>,
    F: for<'c> AsyncFnOnce(&'c mut PgConnection, Again) -> Result<Done<R>, E>,
{
    let key = key(call, domain)?;
    let digest = Sha256::digest(request.encode_to_vec());
    let lost = |error: sqlx::Error| unknown(call, domain, &error);

    // Said aloud, because a stricter default of the database would make waiting for a row an error.
    let begin = "begin isolation level read committed";
    let mut connection = pool.acquire().await.map_err(lost)?;
    let mut tx = connection.begin_with(begin).await.map_err(lost)?;
    let (decision, row) = look(&mut tx, key, call.op, &digest).await.map_err(lost)?;
    let again = match decision {
        Decision::Work {
            again,
            supersede_action,
        } => {
            if supersede_action {
                rows::supersede_action(&mut tx, key).await.map_err(lost)?;
            }
            Again(again)
        }
        Decision::NothingToUndo => {
            let reply = R::default();
            return keep_reply(tx, key, call.op, reply).await.map_err(lost);
        }
        Decision::StoredReply | Decision::StoredRefusal | Decision::Superseded | Decision::Mismatch => {
            tx.rollback().await.map_err(lost)?;
            return replay(decision, row, domain).map_err(|error| unknown(call, domain, &error))?;
        }
    };

    savepoint(&mut tx).await.map_err(lost)?;
    let answered = work(&mut tx, again).await.map_err(Into::into);
    match decide::settle(kind(&answered), call.op, call.refusable) {
        Settlement::StoreReply | Settlement::KeepPending => {}
        Settlement::StoreRefusal => back_to_savepoint(&mut tx).await.map_err(lost)?,
        Settlement::AnswerRefusal | Settlement::AnswerFailure => {
            // The answer is known whether or not the rollback arrives: without a commit nothing is kept.
            drop(tx.rollback().await);
            return Err(match answered {
                Err(Stop::Refuse(refusal)) => refusal.status(domain),
                Err(Stop::Fail(error)) => unknown(call, domain, error.as_ref()),
                Ok(_) => Reason::Internal.status(domain, "an answer was settled as a failure"),
            });
        }
    }
    match answered {
        Ok(Done::Reply(reply)) => keep_reply(tx, key, call.op, reply).await.map_err(lost),
        Ok(Done::Pending { ask_again }) => {
            tx.commit().await.map_err(lost)?;
            let mut response = Response::new(R::default());
            step::set_pending(response.metadata_mut(), ask_again);
            Ok(response)
        }
        Err(Stop::Refuse(refusal)) => {
            rows::store_refusal(&mut tx, key, call.op, &refusal)
                .await
                .map_err(lost)?;
            tx.commit().await.map_err(lost)?;
            let mut status = refusal.status(domain);
            step::set_stored(status.metadata_mut());
            Err(status)
        }
        Err(Stop::Fail(error)) => Err(unknown(call, domain, error.as_ref())),
    }
}

fn key<'a>(call: &'a StepCall, domain: &str) -> Result<Key<'a>, Status> {
    let index = i32::try_from(call.index)
        .map_err(|_| Reason::StepMetadataInvalid.status(domain, "header evenkeel-index is too large"))?;
    Ok(Key {
        saga_id: call.saga_id,
        step: &call.step,
        index,
    })
}

/// Inserts or locks the rows of the call, and decides. Returns the call's own row if there was one.
async fn look(
    conn: &mut PgConnection,
    key: Key<'_>,
    op: Op,
    digest: &[u8],
) -> Result<(Decision, Option<Row>), sqlx::Error> {
    match op {
        Op::Action => {
            if rows::insert(conn, key, op, digest).await? {
                return Ok((decide::action(Own::Inserted), None));
            }
            let row = locked(conn, key, op).await?;
            Ok((decide::action(own(&row, digest)), Some(row)))
        }
        Op::Compensation => {
            let taken = rows::take_action(conn, key).await?;
            let (state, inserted) = rows::lock_action_and_insert(conn, key, digest).await?;
            let action = if taken {
                ActionRow::Taken
            } else {
                ActionRow::Found(state)
            };
            if inserted {
                return Ok((decide::compensation(action, Own::Inserted), None));
            }
            let row = locked(conn, key, op).await?;
            Ok((decide::compensation(action, own(&row, digest)), Some(row)))
        }
    }
}

async fn locked(conn: &mut PgConnection, key: Key<'_>, op: Op) -> Result<Row, sqlx::Error> {
    rows::lock(conn, key, op).await?.ok_or(sqlx::Error::RowNotFound)
}

fn own(row: &Row, digest: &[u8]) -> Own {
    Own::Found {
        state: row.state,
        same_request: row.digest.as_deref().is_none_or(|stored| stored == digest),
    }
}

/// Answers a repeated call from its row. The outer error means that the row is damaged.
fn replay<R: Message + Default>(
    decision: Decision,
    row: Option<Row>,
    domain: &str,
) -> Result<Result<Response<R>, Status>, sqlx::Error> {
    match decision {
        Decision::StoredReply => {
            let bytes = row.and_then(|r| r.reply).ok_or(sqlx::Error::RowNotFound)?;
            let reply = R::decode(bytes.as_slice()).map_err(|e| sqlx::Error::Decode(e.into()))?;
            Ok(Ok(stored(reply)))
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

async fn keep_reply<R: Message>(
    mut tx: PgTransaction<'_>,
    key: Key<'_>,
    op: Op,
    reply: R,
) -> Result<Response<R>, sqlx::Error> {
    rows::store_reply(&mut tx, key, op, &reply.encode_to_vec()).await?;
    tx.commit().await?;
    Ok(stored(reply))
}

fn stored<R>(reply: R) -> Response<R> {
    let mut response = Response::new(reply);
    step::set_stored(response.metadata_mut());
    response
}

// Plain statements: releasing the savepoint, as a nested transaction would, is a round trip for nothing.
async fn savepoint(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("savepoint barrier_work").execute(conn).await?;
    Ok(())
}

async fn back_to_savepoint(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query("rollback to savepoint barrier_work")
        .execute(conn)
        .await?;
    Ok(())
}

const fn kind<R>(answered: &Result<Done<R>, Stop>) -> Answer {
    match answered {
        Ok(Done::Reply(_)) => Answer::Reply,
        Ok(Done::Pending { .. }) => Answer::Pending,
        Err(Stop::Refuse(_)) => Answer::No,
        Err(Stop::Fail(_)) => Answer::Failure,
    }
}

/// Logs a failure and turns it into a status that leaves the outcome unknown.
fn unknown(call: &StepCall, domain: &str, error: &(dyn std::error::Error + 'static)) -> Status {
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
    fn status(&self, domain: &str) -> Status {
        self.reason
            .status_with(domain, self.message.clone(), self.facts.clone())
    }
}
