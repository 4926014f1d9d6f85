use std::time::Duration;

use events::Event;
use ids::{EntryId, TaskId, UserId};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row as _};
use uuid::Uuid;

use crate::domain::{Hold, Phase, Reservation, Reserve, Slot};
use crate::error::Error;

/// Reads what is known of a task at this moment: a reservation whose time is over has expired, whatever its row says.
pub(crate) async fn find(db: impl PgExecutor<'_>, task_id: TaskId) -> Result<Slot, sqlx::Error> {
    let row = sqlx::query(
        "select task_id, user_id, amount, released, created_at, updated_at, expires_at, phase = 'reserved' as open, \
             case when phase = 'reserved' and expires_at <= clock_timestamp() then 'expired' else phase end as phase \
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

/// Reserves for `hold`, unless the task id is taken: burns grants in their order, moves, writes ledger entry and event.
///
/// Does not look at the time: grants that are over must have been settled under the same lock.
///
/// # Errors
/// `Broken` if the grants do not add up to the account, whose row must be locked and have enough.
pub(crate) async fn reserve(
    conn: &mut PgConnection,
    wanted: &Reserve,
    hold: Duration,
    event: &Event,
) -> Result<Option<Reservation>, Error> {
    let row = sqlx::query(
        "with task as ( \
             insert into quota_transactions (id, task_id, user_id, amount, phase, expires_at) \
             values ($1, $2, $3, $4, 'reserved', clock_timestamp() + $11) \
             on conflict on constraint quota_transactions_task do nothing \
             returning * \
         ), open as ( \
             select grant_id, remaining, \
                 sum(remaining) over (order by priority, expires_at, created_at, grant_id) - remaining as before \
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
         select task.*, phase = 'reserved' as open, (select coalesce(sum(amount), 0) from part)::bigint as taken from task",
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
    .bind(hold)
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    if row.try_get::<i64, _>("taken")? != wanted.amount.get() {
        return Err(Error::Broken("the grants do not add up to the account"));
    }
    Ok(Some(reservation(&row)?))
}

/// Confirms `consumed` of a live reservation: moves, writes ledger entry and event. The rest of it, if there is one, must
/// be given back by [`return_rest`].
pub(crate) async fn confirm(
    conn: &mut PgConnection,
    task_id: TaskId,
    consumed: i64,
    event: &Event,
) -> Result<Option<Reservation>, sqlx::Error> {
    let row = sqlx::query(
        "with task as ( \
             update quota_transactions set phase = 'confirmed', released = amount - $8, updated_at = clock_timestamp() \
             where task_id = $1 and phase = 'reserved' and expires_at > clock_timestamp() \
             returning * \
         ), moved as ( \
             update account a set reserved = a.reserved - $8, consumed = a.consumed + $8, \
                 updated_at = clock_timestamp() \
             from task t where a.user_id = t.user_id \
         ), entry as ( \
             insert into ledger (entry_id, user_id, kind, granted_delta, available_delta, reserved_delta, \
                 consumed_delta, task_id) \
             select $2, user_id, 'confirmed', 0, 0, -$8, $8, task_id from task \
         ), sent as ( \
             insert into outbox (id, topic, key, data, traceparent) select $3, $4, $5, $6, $7 from task \
         ) \
         select task.*, phase = 'reserved' as open from task",
    )
    .bind(task_id.uuid())
    .bind(EntryId::new().uuid())
    .bind(event.id)
    .bind(&event.topic)
    .bind(&event.key)
    .bind(&event.data)
    .bind(&event.traceparent)
    .bind(consumed)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(reservation).transpose()
}

/// Gives `rest` of a confirmed reservation back to the grants that it took last: moves, writes ledger entry and event.
pub(crate) async fn return_rest(
    conn: &mut PgConnection,
    task_id: TaskId,
    rest: i64,
    event: &Event,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with part as ( \
             select p.grant_id, p.amount, g.user_id, sum(p.amount) over ( \
                 order by g.priority desc, g.expires_at desc, g.created_at desc, g.grant_id desc \
             ) - p.amount as before \
             from reservation_part p join quota_grant g on g.grant_id = p.grant_id where p.task_id = $1 \
         ), rest as ( \
             update reservation_part p set released = least(p.amount, $8 - o.before) \
             from part o where p.task_id = $1 and p.grant_id = o.grant_id and o.before < $8 \
             returning p.grant_id, p.released, o.user_id \
         ), returned as ( \
             update quota_grant g set remaining = g.remaining + r.released from rest r where g.grant_id = r.grant_id \
         ), back as ( \
             select user_id, sum(released)::bigint as amount from rest group by user_id \
         ), moved as ( \
             update account a set available = a.available + b.amount, reserved = a.reserved - b.amount, \
                 updated_at = clock_timestamp() \
             from back b where a.user_id = b.user_id \
         ), sent as ( \
             insert into outbox (id, topic, key, data, traceparent) select $3, $4, $5, $6, $7 from back \
         ) \
         insert into ledger (entry_id, user_id, kind, granted_delta, available_delta, reserved_delta, consumed_delta, \
             task_id) \
         select $2, user_id, 'released', 0, amount, -amount, 0, $1 from back",
    )
    .bind(task_id.uuid())
    .bind(EntryId::new().uuid())
    .bind(event.id)
    .bind(&event.topic)
    .bind(&event.key)
    .bind(&event.data)
    .bind(&event.traceparent)
    .bind(rest)
    .execute(conn)
    .await?;
    Ok(())
}

/// Why a reservation is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Back {
    /// It was cancelled.
    Cancelled,
    /// Its time is over.
    Expired,
}

/// Gives each grant back what an open reservation took from it, moves, writes ledger entry and event.
pub(crate) async fn give_back(
    conn: &mut PgConnection,
    task_id: TaskId,
    why: Back,
    event: &Event,
) -> Result<Option<Reservation>, sqlx::Error> {
    let phase = match why {
        Back::Cancelled => Phase::Cancelled,
        Back::Expired => Phase::Expired,
    };
    // An extension holds no lock on the account, so the time is looked at where the row is changed.
    let row = sqlx::query(
        "with task as ( \
             update quota_transactions set phase = $8, updated_at = clock_timestamp() \
             where task_id = $1 and phase = 'reserved' and ($8 <> 'expired' or expires_at <= clock_timestamp()) \
             returning * \
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
             select $2, user_id, phase, 0, amount, -amount, 0, task_id from task \
         ), sent as ( \
             insert into outbox (id, topic, key, data, traceparent) select $3, $4, $5, $6, $7 from task \
         ) \
         select task.*, phase = 'reserved' as open from task",
    )
    .bind(task_id.uuid())
    .bind(EntryId::new().uuid())
    .bind(event.id)
    .bind(&event.topic)
    .bind(&event.key)
    .bind(&event.data)
    .bind(&event.traceparent)
    .bind(phase.name())
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(reservation).transpose()
}

/// Lets a live reservation stand for `hold` from now, or as long as it does anyway.
pub(crate) async fn extend(
    db: impl PgExecutor<'_>,
    task_id: TaskId,
    hold: Hold,
) -> Result<Option<Reservation>, sqlx::Error> {
    let row = sqlx::query(
        "update quota_transactions \
         set expires_at = greatest(expires_at, clock_timestamp() + $2), updated_at = clock_timestamp() \
         where task_id = $1 and phase = 'reserved' and expires_at > clock_timestamp() \
         returning *, phase = 'reserved' as open",
    )
    .bind(task_id.uuid())
    .bind(hold.get())
    .fetch_optional(db)
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
        released: row.try_get("released")?,
        open: row.try_get("open")?,
        phase: Phase::from_name(phase)
            .ok_or_else(|| sqlx::Error::Decode(format!("reservation phase {phase:?}").into()))?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
        expires_at: row.try_get("expires_at")?,
    })
}
