//! The books, in Postgres. Locks are taken in this order: the row of the order, then that of a device.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};

/// Most orders that are shown.
const MAX_SHOWN: i64 = 10_000;

/// What the allocator knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// Devices there are.
    pub devices: i64,
    /// Devices that belong to no order.
    pub free: i64,
    /// Orders, oldest first; at most the 10,000 newest.
    pub allocations: Vec<Allocation>,
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, sqlx::FromRow)]
pub struct Allocation {
    /// Id of the order.
    pub order_id: String,
    /// Whose it is.
    pub user_id: String,
    /// Id of the plan; empty if it was not told.
    pub plan_id: String,
    /// Where it stands.
    #[sqlx(try_from = "String")]
    pub state: State,
    /// The device it has, or had until it was released.
    pub device_id: Option<String>,
    /// Why it was refused.
    pub reason: Option<String>,
    /// The same for people.
    pub message: Option<String>,
    /// Requests that came, ignored ones not counted.
    pub requests: i32,
    /// When it was first heard of.
    pub created_at: DateTime<Utc>,
    /// When it was released.
    pub released_at: Option<DateTime<Utc>>,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Asked for; only while its request is handled.
    Asked,
    /// It has a device.
    Allocated,
    /// It has none and never will.
    Refused,
    /// It was released, perhaps before it was asked for; it never has a device again.
    Released,
}

impl TryFrom<String> for State {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Ok(match text.as_str() {
            "asked" => Self::Asked,
            "allocated" => Self::Allocated,
            "refused" => Self::Refused,
            "released" => Self::Released,
            _ => return Err(format!("{text:?} is no state of an allocation")),
        })
    }
}

/// Makes the devices 1 to `count` exist, and those above it that are free cease to.
pub(super) async fn stock(pool: &PgPool, count: i32) -> Result<(), sqlx::Error> {
    let mut transaction = pool.begin().await?;
    sqlx::query(
        "insert into device (id, number)
         select 'device-' || lpad(number::text, greatest(4, length(number::text)), '0'), number
         from generate_series(1, $1) number
         on conflict (number) do nothing",
    )
    .bind(count)
    .execute(&mut *transaction)
    .await?;
    sqlx::query("delete from device where number > $1 and order_id is null")
        .bind(count)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await
}

pub(super) async fn books(pool: &PgPool) -> Result<Books, sqlx::Error> {
    let mut transaction = pool
        .begin_with("begin isolation level repeatable read read only")
        .await?;
    let (devices, free) =
        sqlx::query_as("select count(*), count(*) filter (where order_id is null) from device")
            .fetch_one(&mut *transaction)
            .await?;
    let mut allocations: Vec<Allocation> = sqlx::query_as(
        "select order_id, user_id, plan_id, state, device_id, reason, message, requests, created_at, released_at
         from allocation order by created_at desc, order_id desc limit $1",
    )
    .bind(MAX_SHOWN)
    .fetch_all(&mut *transaction)
    .await?;
    transaction.commit().await?;
    allocations.reverse();
    Ok(Books {
        devices,
        free,
        allocations,
    })
}

/// Counts a request of an order, and locks the order. It is new if its state is [`State::Asked`].
pub(super) async fn ask(
    conn: &mut PgConnection,
    order: &str,
    user: &str,
    plan: &str,
) -> Result<Allocation, sqlx::Error> {
    sqlx::query_as(
        "insert into allocation (order_id, user_id, plan_id, state, requests) values ($1, $2, $3, 'asked', 1)
         on conflict (order_id) do update set requests = allocation.requests + 1
         returning order_id, user_id, plan_id, state, device_id, reason, message, requests, created_at, released_at",
    )
    .bind(order)
    .bind(user)
    .bind(plan)
    .fetch_one(conn)
    .await
}

/// Gives a free device to an order that was just asked for; `None` if none is free.
pub(super) async fn take_device(conn: &mut PgConnection, order: &str) -> Result<Option<String>, sqlx::Error> {
    let device: Option<String> = sqlx::query_scalar(
        "update device set order_id = $1 where id = (
            select id from device where order_id is null order by number limit 1 for update skip locked
         )
         returning id",
    )
    .bind(order)
    .fetch_optional(&mut *conn)
    .await?;
    let Some(device) = device else {
        return Ok(None);
    };
    let updated = sqlx::query(
        "update allocation set state = 'allocated', device_id = $2 where order_id = $1 and state = 'asked'",
    )
    .bind(order)
    .bind(&device)
    .execute(conn)
    .await?;
    one(updated.rows_affected())?;
    Ok(Some(device))
}

pub(super) async fn refuse(
    conn: &mut PgConnection,
    order: &str,
    reason: &str,
    message: &str,
) -> Result<(), sqlx::Error> {
    let updated = sqlx::query(
        "update allocation set state = 'refused', reason = $2, message = $3
         where order_id = $1 and state = 'asked'",
    )
    .bind(order)
    .bind(reason)
    .bind(message)
    .execute(conn)
    .await?;
    one(updated.rows_affected())
}

/// Returns the order that has a device now.
pub(super) async fn order_of(conn: &mut PgConnection, device: &str) -> Result<Option<String>, sqlx::Error> {
    let order: Option<Option<String>> = sqlx::query_scalar("select order_id from device where id = $1")
        .bind(device)
        .fetch_optional(conn)
        .await?;
    Ok(order.flatten())
}

/// Writes that an order is released which nobody has asked for yet; false if it is known already.
pub(super) async fn release_unknown(
    conn: &mut PgConnection,
    order: &str,
    user: &str,
) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query(
        "insert into allocation (order_id, user_id, plan_id, state, released_at)
         values ($1, $2, '', 'released', clock_timestamp())
         on conflict (order_id) do nothing",
    )
    .bind(order)
    .bind(user)
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Reads an order and locks it.
pub(super) async fn locked(conn: &mut PgConnection, order: &str) -> Result<Allocation, sqlx::Error> {
    sqlx::query_as(
        "select order_id, user_id, plan_id, state, device_id, reason, message, requests, created_at, released_at
         from allocation where order_id = $1 for update",
    )
    .bind(order)
    .fetch_one(conn)
    .await
}

/// Releases an order that has a device; the device is free again.
pub(super) async fn release(conn: &mut PgConnection, order: &str, device: &str) -> Result<(), sqlx::Error> {
    let updated = sqlx::query(
        "update allocation set state = 'released', released_at = clock_timestamp()
         where order_id = $1 and state = 'allocated'",
    )
    .bind(order)
    .execute(&mut *conn)
    .await?;
    one(updated.rows_affected())?;
    let freed = sqlx::query("update device set order_id = null where id = $1 and order_id = $2")
        .bind(device)
        .bind(order)
        .execute(conn)
        .await?;
    one(freed.rows_affected())
}

/// A row that was locked a moment ago has to be there: anything else is a broken book, and nothing is committed.
fn one(rows: u64) -> Result<(), sqlx::Error> {
    if rows == 1 {
        Ok(())
    } else {
        Err(sqlx::Error::RowNotFound)
    }
}

/// Lets an answer rest in the outbox before the relay publishes it.
pub(super) async fn postpone(
    conn: &mut PgConnection,
    event: uuid::Uuid,
    delay_ms: u32,
) -> Result<(), sqlx::Error> {
    let updated = sqlx::query(
        "update outbox set next_try = clock_timestamp() + $2 * interval '1 millisecond' where id = $1",
    )
    .bind(event)
    .bind(f64::from(delay_ms))
    .execute(conn)
    .await?;
    one(updated.rows_affected())
}
