//! The table `cases`.

use chrono::{DateTime, Utc};
use ids::CaseId;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};
use uuid::Uuid;

use super::checks::Subject;
use super::row;
use crate::domain::Channel;

/// What a person has to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CaseKind {
    UnknownOutcome,
    AbnormalRefund,
    AmountMismatch,
    RefundFailed,
    Contradiction,
}

impl CaseKind {
    const ALL: [Self; 5] = [
        Self::UnknownOutcome,
        Self::AbnormalRefund,
        Self::AmountMismatch,
        Self::RefundFailed,
        Self::Contradiction,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::UnknownOutcome => "UNKNOWN_OUTCOME",
            Self::AbnormalRefund => "ABNORMAL_REFUND",
            Self::AmountMismatch => "AMOUNT_MISMATCH",
            Self::RefundFailed => "REFUND_FAILED",
            Self::Contradiction => "CONTRADICTION",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A case.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) id: CaseId,
    pub(crate) kind: CaseKind,
    pub(crate) channel: Channel,
    pub(crate) subject: Subject,
    pub(crate) subject_id: Uuid,
    pub(crate) number: String,
    pub(crate) detail: String,
    pub(crate) opened_at: DateTime<Utc>,
    pub(crate) resolved_at: Option<DateTime<Utc>>,
    pub(crate) resolved_by: Option<String>,
    pub(crate) note: Option<String>,
}

impl FromRow<'_, PgRow> for Case {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let (kind, subject): (&str, &str) = (row.try_get("kind")?, row.try_get("subject")?);
        Ok(Self {
            id: row::id(row, "id")?,
            kind: CaseKind::from_name(kind)
                .ok_or_else(|| row::decode(format!("no case is named {kind:?}")))?,
            channel: row::channel(row)?,
            subject: Subject::from_name(subject)
                .ok_or_else(|| row::decode(format!("no subject is named {subject:?}")))?,
            subject_id: row.try_get("subject_id")?,
            number: row.try_get("number")?,
            detail: row.try_get("detail")?,
            opened_at: row.try_get("opened_at")?,
            resolved_at: row.try_get("resolved_at")?,
            resolved_by: row.try_get("resolved_by")?,
            note: row.try_get("note")?,
        })
    }
}

/// A case to be opened.
#[derive(Debug, Clone)]
pub(crate) struct NewCase<'a> {
    pub(crate) kind: CaseKind,
    pub(crate) channel: Channel,
    pub(crate) subject: Subject,
    pub(crate) subject_id: Uuid,
    /// The number under which the provider knows it.
    pub(crate) number: &'a str,
    pub(crate) detail: &'a str,
}

/// Opens a case. False if there is an open one of the kind for the same thing.
pub(crate) async fn open(conn: &mut PgConnection, case: &NewCase<'_>) -> Result<bool, sqlx::Error> {
    let opened = sqlx::query(
        "insert into cases (id, kind, channel, subject, subject_id, number, detail)
         values ($1, $2, $3, $4, $5, $6, $7)
         on conflict (kind, subject, subject_id) where resolved_at is null do nothing",
    )
    .bind(CaseId::new().uuid())
    .bind(case.kind.name())
    .bind(case.channel.name())
    .bind(case.subject.name())
    .bind(case.subject_id)
    .bind(case.number)
    .bind(case.detail)
    .execute(conn)
    .await?;
    Ok(opened.rows_affected() == 1)
}

/// Returns cases, newest first.
pub(crate) async fn list(
    db: impl PgExecutor<'_>,
    include_resolved: bool,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Case>, sqlx::Error> {
    sqlx::query_as(
        "select * from cases where ($1 or resolved_at is null) and id < $2 order by id desc limit $3",
    )
    .bind(include_resolved)
    .bind(before.unwrap_or(Uuid::max()))
    .bind(limit)
    .fetch_all(db)
    .await
}

/// Finds a case and locks it until the end of the transaction. It may be locked first, before what it is about: whoever
/// opens a case does not wait for one that is only locked.
pub(crate) async fn lock(conn: &mut PgConnection, id: CaseId) -> Result<Option<Case>, sqlx::Error> {
    sqlx::query_as("select * from cases where id = $1 for update")
        .bind(id.uuid())
        .fetch_optional(conn)
        .await
}

/// Closes a case; `None` if it is closed. The last statement of its transaction: from here on, whoever opens a case of the
/// kind waits.
pub(crate) async fn resolve(
    conn: &mut PgConnection,
    id: CaseId,
    by: &str,
    note: &str,
) -> Result<Option<Case>, sqlx::Error> {
    sqlx::query_as(
        "update cases set resolved_at = clock_timestamp(), resolved_by = $2, note = $3
         where id = $1 and resolved_at is null returning *",
    )
    .bind(id.uuid())
    .bind(by)
    .bind(note)
    .fetch_optional(conn)
    .await
}
