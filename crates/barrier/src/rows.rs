//! All SQL of the barrier. Lock order: the action's row, then the compensation's row, then business rows.

use std::collections::HashMap;

use ids::SagaId;
use rpc::step::Op;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{PgConnection, Row as _};

use crate::Refusal;
use crate::decide::State;

/// Identifies a step of a saga; with an [`Op`] it is the idempotency key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) saga_id: SagaId,
    pub(crate) step: &'a str,
    pub(crate) index: i32,
}

/// A locked row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) state: State,
    pub(crate) digest: Option<Vec<u8>>,
    pub(crate) reply: Option<Vec<u8>>,
    pub(crate) refusal: Option<StoredRefusal>,
}

/// A refusal as it was answered the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredRefusal {
    pub(crate) code: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) facts: HashMap<String, String>,
}

/// Inserts the row of an operation, pending, unless it is there; tells whether it did.
///
/// Waits for a transaction that is inserting the same row.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    key: Key<'_>,
    op: Op,
    digest: &[u8],
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into barrier (saga_id, step, idx, op, request_digest, state) \
         values ($1, $2, $3, $4, $5, 'pending') on conflict do nothing",
    )
    .bind(key.saga_id.uuid())
    .bind(key.step)
    .bind(key.index)
    .bind(op.name())
    .bind(digest)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes the place of an action that has not come; tells whether it was free.
///
/// Waits for a transaction in which the action is running.
pub(crate) async fn take_action(conn: &mut PgConnection, key: Key<'_>) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into barrier (saga_id, step, idx, op, state) \
         values ($1, $2, $3, 'action', 'superseded') on conflict do nothing",
    )
    .bind(key.saga_id.uuid())
    .bind(key.step)
    .bind(key.index)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Locks the action's row, which is there, then inserts the compensation's row unless it is there. Returns the state
/// of the action and whether the row was inserted.
///
/// The insert reads from the locked row, which fixes the order of the two.
pub(crate) async fn lock_action_and_insert(
    conn: &mut PgConnection,
    key: Key<'_>,
    digest: &[u8],
) -> Result<(State, bool), sqlx::Error> {
    let row = sqlx::query(
        "with action as materialized ( \
             select state from barrier \
             where saga_id = $1 and step = $2 and idx = $3 and op = 'action' for update \
         ), own as ( \
             insert into barrier (saga_id, step, idx, op, request_digest, state) \
             select $1, $2, $3, 'compensation', $4, 'pending' from action \
             on conflict do nothing returning 1 \
         ) \
         select state, exists (select from own) as inserted from action",
    )
    .bind(key.saga_id.uuid())
    .bind(key.step)
    .bind(key.index)
    .bind(digest)
    .fetch_one(conn)
    .await?;
    Ok((state(&row)?, row.try_get("inserted")?))
}

/// Locks the row of an operation, if it is there.
pub(crate) async fn lock(conn: &mut PgConnection, key: Key<'_>, op: Op) -> Result<Option<Row>, sqlx::Error> {
    let row = sqlx::query(
        "select state, request_digest, reply, refusal_code, refusal_reason, refusal_message, refusal_facts \
         from barrier where saga_id = $1 and step = $2 and idx = $3 and op = $4 for update",
    )
    .bind(key.saga_id.uuid())
    .bind(key.step)
    .bind(key.index)
    .bind(op.name())
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(Row {
            state: state(&row)?,
            digest: row.try_get("request_digest")?,
            reply: row.try_get("reply")?,
            refusal: refusal(&row)?,
        })
    })
    .transpose()
}

/// Marks a pending action as superseded. The row must be locked.
pub(crate) async fn supersede_action(conn: &mut PgConnection, key: Key<'_>) -> Result<(), sqlx::Error> {
    let query = sqlx::query(
        "update barrier set state = 'superseded', updated_at = clock_timestamp() \
         where saga_id = $1 and step = $2 and idx = $3 and op = 'action' and state = 'pending'",
    );
    one(
        query.bind(key.saga_id.uuid()).bind(key.step).bind(key.index),
        conn,
    )
    .await
}

/// Stores the final reply of a pending operation. The row must be locked.
pub(crate) async fn store_reply(
    conn: &mut PgConnection,
    key: Key<'_>,
    op: Op,
    reply: &[u8],
) -> Result<(), sqlx::Error> {
    let query = sqlx::query(
        "update barrier set state = 'succeeded', reply = $5, updated_at = clock_timestamp() \
         where saga_id = $1 and step = $2 and idx = $3 and op = $4 and state = 'pending'",
    );
    let query = query.bind(key.saga_id.uuid()).bind(key.step).bind(key.index);
    one(query.bind(op.name()).bind(reply), conn).await
}

/// Stores the refusal of a pending operation. The row must be locked.
pub(crate) async fn store_refusal(
    conn: &mut PgConnection,
    key: Key<'_>,
    op: Op,
    refusal: &Refusal,
) -> Result<(), sqlx::Error> {
    let query = sqlx::query(
        "update barrier set state = 'refused', refusal_code = $5, refusal_reason = $6, refusal_message = $7, \
         refusal_facts = $8, updated_at = clock_timestamp() \
         where saga_id = $1 and step = $2 and idx = $3 and op = $4 and state = 'pending'",
    );
    let query = query
        .bind(key.saga_id.uuid())
        .bind(key.step)
        .bind(key.index)
        .bind(op.name());
    let query = query
        .bind(refusal.reason.code() as i32)
        .bind(refusal.reason.name())
        .bind(&refusal.message)
        .bind(Json(&refusal.facts));
    one(query, conn).await
}

/// Runs an update that must hit exactly one row.
async fn one(
    query: sqlx::query::Query<'_, sqlx::Postgres, sqlx::postgres::PgArguments>,
    conn: &mut PgConnection,
) -> Result<(), sqlx::Error> {
    let done = query.execute(conn).await?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(sqlx::Error::RowNotFound)
    }
}

fn state(row: &PgRow) -> Result<State, sqlx::Error> {
    let name: &str = row.try_get("state")?;
    State::from_name(name).ok_or_else(|| sqlx::Error::Decode(format!("barrier state {name:?}").into()))
}

fn refusal(row: &PgRow) -> Result<Option<StoredRefusal>, sqlx::Error> {
    let Some(code) = row.try_get("refusal_code")? else {
        return Ok(None);
    };
    let Json(facts) = row.try_get("refusal_facts")?;
    Ok(Some(StoredRefusal {
        code,
        reason: row.try_get("refusal_reason")?,
        message: row.try_get("refusal_message")?,
        facts,
    }))
}
