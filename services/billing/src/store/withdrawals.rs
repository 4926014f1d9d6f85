//! The table `withdrawals`.

use chrono::{DateTime, Utc};
use ids::{SagaId, UserId, WithdrawalId};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};
use uuid::Uuid;

use super::row;
use crate::domain::{Amount, CNY, Channel, Machine as _, WithdrawalStatus};

/// A withdrawal.
#[derive(Debug, Clone)]
pub(crate) struct Withdrawal {
    pub(crate) id: WithdrawalId,
    pub(crate) withdrawal_no: String,
    pub(crate) user_id: UserId,
    pub(crate) channel: Channel,
    pub(crate) amount: Amount,
    pub(crate) currency: String,
    pub(crate) status: WithdrawalStatus,
    pub(crate) provider_no: Option<String>,
    /// WeChat: opens the page on which the recipient accepts.
    pub(crate) package: Option<String>,
    /// Why it is FAILED.
    pub(crate) error: Option<String>,
    pub(crate) saga_id: SagaId,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    pub(crate) ended_at: Option<DateTime<Utc>>,
}

impl FromRow<'_, PgRow> for Withdrawal {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let amount: i64 = row.try_get("amount")?;
        Ok(Self {
            id: row::id(row, "id")?,
            withdrawal_no: row.try_get("withdrawal_no")?,
            user_id: row::id(row, "user_id")?,
            channel: row::channel(row)?,
            amount: Amount::new(amount).ok_or_else(|| row::decode(format!("no amount is {amount}")))?,
            currency: row.try_get("currency")?,
            status: row::status(row)?,
            provider_no: row.try_get("provider_no")?,
            package: row.try_get("package")?,
            error: row.try_get("error")?,
            saga_id: row::id(row, "saga_id")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            ended_at: row.try_get("ended_at")?,
        })
    }
}

/// A withdrawal to be written.
#[derive(Debug)]
pub(crate) struct NewWithdrawal<'a> {
    pub(crate) id: WithdrawalId,
    pub(crate) withdrawal_no: &'a str,
    pub(crate) user_id: UserId,
    pub(crate) channel: Channel,
    pub(crate) amount: Amount,
    pub(crate) saga_id: SagaId,
}

/// Writes a withdrawal whose amount is frozen. False if there is one of this id.
pub(crate) async fn insert(conn: &mut PgConnection, new: &NewWithdrawal<'_>) -> Result<bool, sqlx::Error> {
    let inserted = sqlx::query(
        "insert into withdrawals (id, withdrawal_no, user_id, channel, amount, currency, saga_id)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict on constraint withdrawals_pkey do nothing",
    )
    .bind(new.id.uuid())
    .bind(new.withdrawal_no)
    .bind(new.user_id.uuid())
    .bind(new.channel.name())
    .bind(new.amount.minor())
    .bind(CNY)
    .bind(new.saga_id.uuid())
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Finds a withdrawal.
pub(crate) async fn find(
    db: impl PgExecutor<'_>,
    id: WithdrawalId,
) -> Result<Option<Withdrawal>, sqlx::Error> {
    sqlx::query_as("select * from withdrawals where id = $1")
        .bind(id.uuid())
        .fetch_optional(db)
        .await
}

/// Finds a withdrawal by the number under which the provider knows it.
pub(crate) async fn find_by_number(
    db: impl PgExecutor<'_>,
    number: &str,
) -> Result<Option<Withdrawal>, sqlx::Error> {
    sqlx::query_as("select * from withdrawals where withdrawal_no = $1")
        .bind(number)
        .fetch_optional(db)
        .await
}

/// Finds a withdrawal and locks it until the end of the transaction. The account is to be locked before.
pub(crate) async fn lock(
    conn: &mut PgConnection,
    id: WithdrawalId,
) -> Result<Option<Withdrawal>, sqlx::Error> {
    sqlx::query_as("select * from withdrawals where id = $1 for update")
        .bind(id.uuid())
        .fetch_optional(conn)
        .await
}

/// Returns a user's withdrawals, newest first. Ids do not sort by age, so the place is that of the row they name.
pub(crate) async fn list(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Withdrawal>, sqlx::Error> {
    sqlx::query_as(
        "select * from withdrawals
         where user_id = $1
           and ($2::uuid is null or (created_at, id) < (select created_at, id from withdrawals where id = $2))
         order by created_at desc, id desc limit $3",
    )
    .bind(user_id.uuid())
    .bind(before)
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Writes that the provider is to send the money. False if the withdrawal is not frozen.
pub(crate) async fn begin(
    conn: &mut PgConnection,
    id: WithdrawalId,
    saga_step: &str,
) -> Result<bool, sqlx::Error> {
    let begun = sqlx::query(
        "update withdrawals set status = $2, saga_step = $3, updated_at = clock_timestamp()
         where id = $1 and status = $4",
    )
    .bind(id.uuid())
    .bind(WithdrawalStatus::Processing.name())
    .bind(saga_step)
    .bind(WithdrawalStatus::Frozen.name())
    .execute(conn)
    .await?;
    Ok(begun.rows_affected() == 1)
}

/// Writes what the provider calls a transfer that is under way. False if nothing of it is new.
pub(crate) async fn under_way(
    conn: &mut PgConnection,
    id: WithdrawalId,
    provider_no: Option<&str>,
    package: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let written = sqlx::query(
        "update withdrawals
         set provider_no = coalesce($2, provider_no), package = coalesce($3, package)
         where id = $1 and status = $4
           and (coalesce($2, provider_no), coalesce($3, package)) is distinct from (provider_no, package)",
    )
    .bind(id.uuid())
    .bind(provider_no)
    .bind(package)
    .bind(WithdrawalStatus::Processing.name())
    .execute(conn)
    .await?;
    Ok(written.rows_affected() == 1)
}

/// Ends a withdrawal; with an error it has failed. False if it does not have the status `from`.
pub(crate) async fn end(
    conn: &mut PgConnection,
    id: WithdrawalId,
    from: WithdrawalStatus,
    provider_no: Option<&str>,
    error: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let status = if error.is_some() {
        WithdrawalStatus::Failed
    } else {
        WithdrawalStatus::Succeeded
    };
    let ended = sqlx::query(
        "update withdrawals
         set status = $3, provider_no = coalesce($4, provider_no), error = $5, package = null,
             updated_at = clock_timestamp(), ended_at = clock_timestamp()
         where id = $1 and status = $2",
    )
    .bind(id.uuid())
    .bind(from.name())
    .bind(status.name())
    .bind(provider_no)
    .bind(error)
    .execute(conn)
    .await?;
    Ok(ended.rows_affected() == 1)
}
