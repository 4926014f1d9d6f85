use events::Event;
use ids::{EntryId, TaskId, UserId};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row as _};
use uuid::Uuid;

use crate::domain::{Phase, Reservation, Reserve, Slot};
use crate::error::Error;

/// Reads what is known of a task.
pub(crate) async fn find(db: impl PgExecutor<'_>, task_id: TaskId) -> Result<Slot, sqlx::Error> {
    let row = sqlx::query(
        "select task_id, user_id, amount, phase, created_at, updated_at \
         from quota_transactions where task_id = $1",
    )
    .bind(task_id.uuid())
    .fetch_optional(db)
    .await?;
    let Some(row) = row else {
        return Ok(Slot::Free);
    };
    if row.try_get::<Option<Uuid>, _>("user_id")?.is_none() {
        return Ok(Slot::Marked);
    }
    reservation(&row).map(Slot::Held)
}

/// Reserves, unless the task id is taken: burns grants in their order, moves, writes ledger entry and event.
///
/// # Errors
/// `Broken` if the grants do not add up to the account, whose row must be locked and have enough.
pub(crate) async fn reserve(
    conn: &mut PgConnection,
    wanted: &Reserve,
    event: &Event,
) -> Result<Option<Reservation>, Error> {
    let row = sqlx::query(
        "with task as ( \
             insert into quota_transactions (id, task_id, user_id, amount, phase) \
             values ($1, $2, $3, $4, 'reserved') on conflict on constraint quota_transactions_task do nothing \
             returning task_id, user_id, amount, phase, created_at, updated_at \
         ), open as ( \
             select grant_id, remaining, \
                 sum(remaining) over (order by priority, created_at, grant_id) - remaining as before \
             from quota_grant where user_id = $3 and remaining > 0 \
         ), part as ( \
             insert into reservation_part (task_id, grant_id, amount) \
             select t.task_id, o.grant_id, least(o.remaining, t.amount - o.before) \
             from task t join open o on o.before < t.amount \
             returning grant_id, amount \
         ), burnt as ( \
             update quota_grant g set remaining = g.remaining - p.amount \
             from part p where g.grant_id = p.grant_id \
         ), moved as ( \
             update account a set available = a.available - t.amount, reserved = a.reserved + t.amount, \
                 updated_at = clock_timestamp() \
             from task t where a.user_id = t.user_id \
         ), entry as ( \
             insert into ledger (entry_id, user_id, kind, granted_delta, available_delta, reserved_delta, \
                 consumed_delta, task_id) \
             select $5, user_id, 'reserved', 0, -amount, amount, 0, task_id from task \
         ), sent as ( \
             insert into outbox (id, topic, key, data, traceparent) select $6, $7, $8, $9, $10 from task \
         ) \
         select task_id, user_id, amount, phase, created_at, updated_at, \
             (select coalesce(sum(amount), 0) from part)::bigint as taken from task",
    )
    .bind(Uuid::now_v7())
    .bind(wanted.task_id.uuid())
    .bind(wanted.user_id.uuid())
    .bind(wanted.amount.get())
    .bind(EntryId::new().uuid())
    .bind(event.id)
    .bind(&event.topic)
    .bind(&event.key)
    .bind(&event.data)
    .bind(&event.traceparent)
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if row.try_get::<i64, _>("taken")? != wanted.amount.get() {
        return Err(Error::Broken("the grants do not add up to the account"));
    }
    Ok(Some(reservation(&row)?))
}

/// Confirms a reservation that is in phase `reserved`: moves, writes ledger entry and event.
pub(crate) async fn confirm(
    conn: &mut PgConnection,
    task_id: TaskId,
    event: &Event,
) -> Result<Option<Reservation>, sqlx::Error> {
    let row = sqlx::query(
        "with task as ( \
             update quota_transactions set phase = 'confirmed', updated_at = clock_timestamp() \
             where task_id = $1 and phase = 'reserved' \
             returning task_id, user_id, amount, phase, created_at, updated_at \
         ), moved as ( \
             update account a set reserved = a.reserved - t.amount, consumed = a.consumed + t.amount, \
                 updated_at = clock_timestamp() \
             from task t where a.user_id = t.user_id \
         ), entry as ( \
             insert into ledger (entry_id, user_id, kind, granted_delta, available_delta, reserved_delta, \
                 consumed_delta, task_id) \
             select $2, user_id, 'confirmed', 0, 0, -amount, amount, task_id from task \
         ), sent as ( \
             insert into outbox (id, topic, key, data, traceparent) select $3, $4, $5, $6, $7 from task \
         ) \
         select task_id, user_id, amount, phase, created_at, updated_at from task",
    )
    .bind(task_id.uuid())
    .bind(EntryId::new().uuid())
    .bind(event.id)
    .bind(&event.topic)
    .bind(&event.key)
    .bind(&event.data)
    .bind(&event.traceparent)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(reservation).transpose()
}

/// Cancels a reservation that is in phase `reserved`: gives each grant back what was taken from it, moves, writes ledger
/// entry and event.
pub(crate) async fn cancel(
    conn: &mut PgConnection,
    task_id: TaskId,
    event: &Event,
) -> Result<Option<Reservation>, sqlx::Error> {
    let row = sqlx::query(
        "with task as ( \
             update quota_transactions set phase = 'cancelled', updated_at = clock_timestamp() \
             where task_id = $1 and phase = 'reserved' \
             returning task_id, user_id, amount, phase, created_at, updated_at \
         ), returned as ( \
             update quota_grant g set remaining = g.remaining + p.amount \
             from reservation_part p join task t on t.task_id = p.task_id where g.grant_id = p.grant_id \
         ), moved as ( \
             update account a set available = a.available + t.amount, reserved = a.reserved - t.amount, \
                 updated_at = clock_timestamp() \
             from task t where a.user_id = t.user_id \
         ), entry as ( \
             insert into ledger (entry_id, user_id, kind, granted_delta, available_delta, reserved_delta, \
                 consumed_delta, task_id) \
             select $2, user_id, 'cancelled', 0, amount, -amount, 0, task_id from task \
         ), sent as ( \
             insert into outbox (id, topic, key, data, traceparent) select $3, $4, $5, $6, $7 from task \
         ) \
         select task_id, user_id, amount, phase, created_at, updated_at from task",
    )
    .bind(task_id.uuid())
    .bind(EntryId::new().uuid())
    .bind(event.id)
    .bind(&event.topic)
    .bind(&event.key)
    .bind(&event.data)
    .bind(&event.traceparent)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(reservation).transpose()
}

/// Takes a task id that nobody has, so that a later reserve is refused; tells whether it was free.
///
/// Waits for a transaction that is taking it.
pub(crate) async fn mark_cancelled(conn: &mut PgConnection, task_id: TaskId) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into quota_transactions (id, task_id, amount, phase) values ($1, $2, 0, 'cancelled') \
         on conflict on constraint quota_transactions_task do nothing",
    )
    .bind(Uuid::now_v7())
    .bind(task_id.uuid())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

fn reservation(row: &PgRow) -> Result<Reservation, sqlx::Error> {
    let phase: &str = row.try_get("phase")?;
    Ok(Reservation {
        task_id: TaskId::from_uuid(row.try_get("task_id")?),
        user_id: UserId::from_uuid(row.try_get("user_id")?),
        amount: row.try_get("amount")?,
        phase: Phase::from_name(phase)
            .ok_or_else(|| sqlx::Error::Decode(format!("reservation phase {phase:?}").into()))?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
