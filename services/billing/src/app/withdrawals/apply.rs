//! Applies what a provider says of a transfer.

use pay::{Transfer, TransferState};
use serde_json::json;
use sqlx::PgConnection;

use crate::domain::{Verdict, verdict};
use crate::error::Error;
use crate::events::tell;
use crate::store::cases::{self, CaseKind, NewCase};
use crate::store::checks::{self, Subject};
use crate::store::withdrawals::{self, Withdrawal};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It was known.
    Unchanged,
    /// It is written down.
    Changed,
    /// It cannot be right: a person is told, and nothing changes.
    Held(String),
}

/// Applies what a provider says of a transfer; `None` if the number is none of ours.
pub(crate) async fn apply(conn: &mut PgConnection, told: &Transfer) -> Result<Option<Applied>, Error> {
    let Some(found) = withdrawals::find_by_number(&mut *conn, told.number.as_str()).await? else {
        return Ok(None);
    };
    let withdrawal = super::lock(conn, found.id).await?;
    apply_locked(conn, &withdrawal, told).await.map(Some)
}

/// Applies what a provider says of a withdrawal that the transaction has locked.
pub(super) async fn apply_locked(
    conn: &mut PgConnection,
    withdrawal: &Withdrawal,
    told: &Transfer,
) -> Result<Applied, Error> {
    let provider_no = told.provider_no.as_deref();
    match verdict(withdrawal.status, withdrawal.amount.money(), told) {
        Verdict::UnderWay => {
            let package = match &told.state {
                TransferState::AwaitingRecipient { package } => package.as_deref(),
                TransferState::Processing | TransferState::Succeeded | TransferState::Failed { .. } => None,
            };
            let is_new = withdrawals::under_way(conn, withdrawal.id, provider_no, package).await?;
            Ok(if is_new {
                Applied::Changed
            } else {
                Applied::Unchanged
            })
        }
        Verdict::Succeeded => {
            succeeded(conn, withdrawal, provider_no).await?;
            Ok(Applied::Changed)
        }
        Verdict::Failed(reason) => {
            failed(conn, withdrawal, provider_no, &reason).await?;
            Ok(Applied::Changed)
        }
        Verdict::Known => Ok(Applied::Unchanged),
        Verdict::OtherAmount(detail) => hold(conn, withdrawal, CaseKind::AmountMismatch, detail).await,
        Verdict::Contradiction(detail) => hold(conn, withdrawal, CaseKind::Contradiction, detail).await,
    }
}

/// The money arrived.
pub(super) async fn succeeded(
    conn: &mut PgConnection,
    withdrawal: &Withdrawal,
    provider_no: Option<&str>,
) -> Result<(), Error> {
    end(conn, withdrawal, provider_no, None).await
}

/// No money went out, and none will.
pub(super) async fn failed(
    conn: &mut PgConnection,
    withdrawal: &Withdrawal,
    provider_no: Option<&str>,
    error: &str,
) -> Result<(), Error> {
    end(conn, withdrawal, provider_no, Some(error)).await
}

async fn end(
    conn: &mut PgConnection,
    withdrawal: &Withdrawal,
    provider_no: Option<&str>,
    error: Option<&str>,
) -> Result<(), Error> {
    if !withdrawals::end(conn, withdrawal.id, withdrawal.status, provider_no, error).await? {
        return Err(Error::Broken("a locked withdrawal has changed"));
    }
    checks::done(conn, Subject::Withdrawal, withdrawal.id.uuid()).await?;
    let topic = if error.is_some() {
        "withdrawal.failed"
    } else {
        "withdrawal.succeeded"
    };
    let data = json!({
        "withdrawalId": withdrawal.id.to_string(),
        "userId": withdrawal.user_id.to_string(),
        "amount": withdrawal.amount.minor(),
    });
    tell(conn, topic, withdrawal.id.to_string(), data).await
}

async fn hold(
    conn: &mut PgConnection,
    withdrawal: &Withdrawal,
    kind: CaseKind,
    detail: String,
) -> Result<Applied, Error> {
    let case = NewCase {
        kind,
        channel: withdrawal.channel,
        subject: Subject::Withdrawal,
        subject_id: withdrawal.id.uuid(),
        number: &withdrawal.withdrawal_no,
        detail: &detail,
    };
    if cases::open(conn, &case).await? {
        tracing::warn!(
            withdrawal_id = %withdrawal.id,
            case = kind.name(),
            detail,
            "a person has to look at a withdrawal"
        );
    }
    Ok(Applied::Held(detail))
}
