//! The table `notify_receipts`, for people to read.

use chrono::{DateTime, Utc};
use ids::ReceiptId;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgExecutor, Row};
use uuid::Uuid;

use super::row;
use crate::domain::Channel;

/// A delivery of a notification.
#[derive(Debug, Clone)]
pub(crate) struct Receipt {
    pub(crate) id: ReceiptId,
    pub(crate) channel: Channel,
    pub(crate) outcome: String,
    pub(crate) reason: Option<String>,
    pub(crate) detail: Option<String>,
    pub(crate) event_id: Option<String>,
    pub(crate) number: Option<String>,
    /// What came of applying the event; absent while it is not applied.
    pub(crate) applied: Option<String>,
    pub(crate) body_sha256: Vec<u8>,
    pub(crate) received_at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for Receipt {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row::id(row, "id")?,
            channel: row::channel(row)?,
            outcome: row.try_get("outcome")?,
            reason: row.try_get("reason")?,
            detail: row.try_get("detail")?,
            event_id: row.try_get("event_id")?,
            number: row.try_get("number")?,
            applied: row.try_get("applied")?,
            body_sha256: row.try_get("body_sha256")?,
            received_at: row.try_get("received_at")?,
        })
    }
}

/// Which deliveries are wanted; what is absent does not matter.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter {
    pub(crate) channel: Option<Channel>,
    pub(crate) outcome: Option<String>,
    pub(crate) number: Option<String>,
}

/// Returns deliveries, newest first.
pub(crate) async fn list(
    db: impl PgExecutor<'_>,
    filter: &Filter,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Receipt>, sqlx::Error> {
    sqlx::query_as(
        "select r.*, i.state as applied
         from notify_receipts r
         left join notify_inbox i
             on i.channel = r.channel and i.event_id = r.event_id and i.state <> 'PENDING'
         where ($1::text is null or r.channel = $1) and ($2::text is null or r.outcome = $2)
           and ($3::text is null or r.number = $3) and r.id < $4
         order by r.id desc limit $5",
    )
    .bind(filter.channel.map(Channel::name))
    .bind(filter.outcome.as_deref())
    .bind(filter.number.as_deref())
    .bind(before.unwrap_or(Uuid::max()))
    .bind(limit)
    .fetch_all(db)
    .await
}
