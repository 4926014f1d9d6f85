//! Carries out what [`decide`](crate::decide) says, in one transaction.

use prost::Message;
use rpc::error::Reason;
use rpc::step::{Op, StepCall};
use sha2::{Digest as _, Sha256};
use sqlx::{Acquire, Connection, PgConnection, Postgres};
use tonic::{Response, Status};
use tracing::Instrument as _;

use crate::answer::{self, key, unknown};
use crate::decide::{self, ActionRow, Answer, Decision, Own, Settlement};
use crate::rows::{self, Key, Row};
use crate::{Again, Done, Stop};

/// Runs the work of a step call at most once, in a transaction of its own, and answers repeated calls from store.
///
/// `pool` (`&PgPool`, or what else one acquires from) gives connections whose `search_path` finds the participant's
/// `barrier` table; `domain` is the participant's error domain. `work` runs inside the transaction, after the barrier's rows are locked; it must not commit or roll
/// back. When it is told [`Again`], the operation is pending and the work looks at what it began.
///
/// Takes 5 round trips plus those of the work for a new action that may be refused: begin, insert, savepoint, store, commit;
/// and 4 for one that may not.
///
/// # Errors
/// * The work's refusal. It carries the mark of [`rpc::step::set_stored`] if it was stored.
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
    async {
        let acquired = pool.acquire().await;
        let mut connection = acquired.map_err(|error| unknown(call, domain, &error))?;
        run_on(&mut connection, call, request, domain, work).await
    }
    .instrument(span(call))
    .await
}

/// The span of a step call's transactions.
pub(crate) fn span(call: &StepCall) -> tracing::Span {
    tracing::info_span!(
        "barrier",
        otel.kind = "client",
        db.system.name = "postgresql",
        step = %call.step,
        attempt = call.attempt
    )
}

/// Runs the work of a step call on this connection.
pub(crate) async fn run_on<R, E, F>(
    connection: &mut PgConnection,
    call: &StepCall,
    request: &impl Message,
    domain: &'static str,
    work: F,
) -> Result<Response<R>, Status>
where
    R: Message + Default,
    E: Into<Stop>,
    F: for<'c> AsyncFnOnce(&'c mut PgConnection, Again) -> Result<Done<R>, E>,
{
    let key = key(call, domain)?;
    let digest = Sha256::digest(request.encode_to_vec());
    let lost = |error: sqlx::Error| unknown(call, domain, &error);

    // Said aloud, because a stricter default of the database would make waiting for a row an error.
    let begin = "begin isolation level read committed";
    let mut tx = connection.begin_with(begin).await.map_err(lost)?;
    let found = look(&mut tx, key, call.op, &digest).await.map_err(lost)?;
    let decision = match found.action {
        None => decide::action(found.own),
        Some(action) => decide::compensation(action, found.own),
    };
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
            return answer::keep_reply(tx, key, call.op, reply).await.map_err(lost);
        }
        Decision::StoredReply | Decision::StoredRefusal | Decision::Superseded | Decision::Mismatch => {
            tx.rollback().await.map_err(lost)?;
            return answer::replay(decision, found.row, domain)
                .map_err(|error| unknown(call, domain, &error))?;
        }
    };

    // To go back to, if what the work wrote goes and its "no" stays.
    if decide::may_store_refusal(call.op, call.refusable) {
        savepoint(&mut tx).await.map_err(lost)?;
    }
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
        Ok(Done::Reply(reply)) => answer::keep_reply(tx, key, call.op, reply).await.map_err(lost),
        Ok(Done::Pending { ask_again }) => {
            tx.commit().await.map_err(lost)?;
            Ok(answer::pending(ask_again))
        }
        Err(Stop::Refuse(refusal)) => {
            let kept = answer::keep_refusal(tx, key, &refusal, domain).await;
            Err(kept.map_err(lost)?)
        }
        Err(Stop::Fail(error)) => Err(unknown(call, domain, error.as_ref())),
    }
}

/// What a call found and locked.
#[derive(Debug)]
pub(crate) struct Found {
    /// The action's row; of a compensation only.
    pub(crate) action: Option<ActionRow>,
    pub(crate) own: Own,
    /// The call's own row, if it was there before.
    pub(crate) row: Option<Row>,
}

/// Inserts or locks the rows of the call.
pub(crate) async fn look(
    conn: &mut PgConnection,
    key: Key<'_>,
    op: Op,
    digest: &[u8],
) -> Result<Found, sqlx::Error> {
    let (action, inserted) = match op {
        Op::Action => (None, rows::insert(conn, key, op, digest).await?),
        Op::Compensation => {
            let taken = rows::take_action(conn, key).await?;
            let (state, inserted) = rows::lock_action_and_insert(conn, key, digest).await?;
            let action = if taken {
                ActionRow::Taken
            } else {
                ActionRow::Found(state)
            };
            (Some(action), inserted)
        }
    };
    let row = if inserted {
        None
    } else {
        Some(rows::lock(conn, key, op).await?.ok_or(sqlx::Error::RowNotFound)?)
    };
    let own = row.as_ref().map_or(Own::Inserted, |row| own(row, digest));
    Ok(Found { action, own, row })
}

fn own(row: &Row, digest: &[u8]) -> Own {
    Own::Found {
        state: row.state,
        same_request: row.digest.as_deref().is_none_or(|stored| stored == digest),
    }
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
