//! The table `cases`.

use ids::CaseId;
use sqlx::PgConnection;
use uuid::Uuid;

use super::checks::Subject;
use crate::domain::Channel;

/// What a person has to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CaseKind {
    UnknownOutcome,
    AbnormalRefund,
    AmountMismatch,
    RefundFailed,
}

impl CaseKind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::UnknownOutcome => "UNKNOWN_OUTCOME",
            Self::AbnormalRefund => "ABNORMAL_REFUND",
            Self::AmountMismatch => "AMOUNT_MISMATCH",
            Self::RefundFailed => "REFUND_FAILED",
        }
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
