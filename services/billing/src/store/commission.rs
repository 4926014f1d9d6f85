//! The tables `commission_accounts` and `commission_entries`.
//!
//! An account is a cache of its entries: both change by [`book`] only, in one transaction that holds the account.

use chrono::{DateTime, Utc};
use ids::{EntryId, UserId, WithdrawalId};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};
use uuid::Uuid;

use super::row;
use crate::domain::{Amount, Movement};

/// What a user has earned: earned = available + frozen + withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub(crate) struct Account {
    pub(crate) earned: i64,
    pub(crate) available: i64,
    pub(crate) frozen: i64,
    pub(crate) withdrawn: i64,
}

/// A movement that was booked.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) id: EntryId,
    pub(crate) user_id: UserId,
    pub(crate) kind: String,
    pub(crate) earned_delta: i64,
    pub(crate) available_delta: i64,
    pub(crate) frozen_delta: i64,
    pub(crate) withdrawn_delta: i64,
    pub(crate) withdrawal_id: Option<WithdrawalId>,
    pub(crate) credit_id: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for Entry {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row::id(row, "id")?,
            user_id: row::id(row, "user_id")?,
            kind: row.try_get("kind")?,
            earned_delta: row.try_get("earned_delta")?,
            available_delta: row.try_get("available_delta")?,
            frozen_delta: row.try_get("frozen_delta")?,
            withdrawn_delta: row.try_get("withdrawn_delta")?,
            withdrawal_id: row
                .try_get::<Option<Uuid>, _>("withdrawal_id")?
                .map(WithdrawalId::from_uuid),
            credit_id: row.try_get("credit_id")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

/// A movement to be booked, and what it is of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NewEntry<'a> {
    pub(crate) user_id: UserId,
    pub(crate) movement: Movement,
    pub(crate) amount: Amount,
    pub(crate) withdrawal_id: Option<WithdrawalId>,
    pub(crate) credit_id: Option<&'a str>,
    pub(crate) note: Option<&'a str>,
}

/// Finds an account.
pub(crate) async fn find(db: impl PgExecutor<'_>, user_id: UserId) -> Result<Option<Account>, sqlx::Error> {
    sqlx::query_as("select earned, available, frozen, withdrawn from commission_accounts where user_id = $1")
        .bind(user_id.uuid())
        .fetch_optional(db)
        .await
}

/// Finds an account and locks it until the end of the transaction. Withdrawals are locked after it.
pub(crate) async fn lock(conn: &mut PgConnection, user_id: UserId) -> Result<Option<Account>, sqlx::Error> {
    sqlx::query_as(
        "select earned, available, frozen, withdrawn from commission_accounts where user_id = $1 for update",
    )
    .bind(user_id.uuid())
    .fetch_optional(conn)
    .await
}

/// Locks an account, which is opened if there is none.
pub(crate) async fn open_and_lock(conn: &mut PgConnection, user_id: UserId) -> Result<Account, sqlx::Error> {
    sqlx::query(
        "insert into commission_accounts (user_id) values ($1)
         on conflict on constraint commission_accounts_pkey do nothing",
    )
    .bind(user_id.uuid())
    .execute(&mut *conn)
    .await?;
    lock(conn, user_id).await?.ok_or(sqlx::Error::RowNotFound)
}

/// Books a movement on an account that the transaction has locked. False, and nothing changes, if there is one that it
/// would repeat or contradict: unique indices say which.
pub(crate) async fn book(conn: &mut PgConnection, entry: &NewEntry<'_>) -> Result<bool, sqlx::Error> {
    let deltas = entry.movement.deltas(entry.amount);
    let inserted = sqlx::query(
        "insert into commission_entries (id, user_id, kind, earned_delta, available_delta, frozen_delta,
             withdrawn_delta, withdrawal_id, credit_id, note)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         on conflict do nothing",
    )
    .bind(EntryId::new().uuid())
    .bind(entry.user_id.uuid())
    .bind(entry.movement.name())
    .bind(deltas.earned)
    .bind(deltas.available)
    .bind(deltas.frozen)
    .bind(deltas.withdrawn)
    .bind(entry.withdrawal_id.map(WithdrawalId::uuid))
    .bind(entry.credit_id)
    .bind(entry.note)
    .execute(&mut *conn)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    let moved = sqlx::query(
        "update commission_accounts
         set earned = earned + $2, available = available + $3, frozen = frozen + $4, withdrawn = withdrawn + $5,
             updated_at = clock_timestamp()
         where user_id = $1",
    )
    .bind(entry.user_id.uuid())
    .bind(deltas.earned)
    .bind(deltas.available)
    .bind(deltas.frozen)
    .bind(deltas.withdrawn)
    .execute(conn)
    .await?;
    if moved.rows_affected() == 1 {
        Ok(true)
    } else {
        Err(sqlx::Error::RowNotFound)
    }
}

/// Finds the entry of a credit.
pub(crate) async fn of_credit(
    db: impl PgExecutor<'_>,
    credit_id: &str,
) -> Result<Option<Entry>, sqlx::Error> {
    sqlx::query_as("select * from commission_entries where credit_id = $1")
        .bind(credit_id)
        .fetch_optional(db)
        .await
}

/// Returns how a withdrawal has ended: the kind of the entry that took its amount out of what is frozen.
pub(crate) async fn ended(
    db: impl PgExecutor<'_>,
    withdrawal_id: WithdrawalId,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(
        "select kind from commission_entries where withdrawal_id = $1 and kind in ('unfrozen', 'withdrawn')",
    )
    .bind(withdrawal_id.uuid())
    .fetch_optional(db)
    .await
}

/// Returns a user's movements, newest first.
pub(crate) async fn list(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Entry>, sqlx::Error> {
    sqlx::query_as(
        "select * from commission_entries where user_id = $1 and id < $2 order by id desc limit $3",
    )
    .bind(user_id.uuid())
    .bind(before.unwrap_or(Uuid::max()))
    .bind(limit)
    .fetch_all(db)
    .await
}
