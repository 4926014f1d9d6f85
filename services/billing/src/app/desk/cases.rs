//! Closes a case.

use ids::{CaseId, RefundId, WithdrawalId};
use sqlx::PgConnection;

use super::super::{refunds, withdrawals};
use crate::error::Error;
use crate::store::cases::{self, Case, CaseKind};
use crate::store::checks::{self, Subject};

/// What a person has learned of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// Nothing: it goes on as it would.
    None,
    /// The money moved.
    Succeeded,
    /// It did not, and will not.
    Failed,
}

/// How a person closes a case.
#[derive(Debug, Clone)]
pub(crate) struct Resolution {
    pub(crate) case_id: CaseId,
    pub(crate) settlement: Settlement,
    /// Who.
    pub(crate) by: String,
    /// Why.
    pub(crate) note: String,
}

/// Closes a case with a note, and settles what it is about if the person has learned the outcome.
///
/// Locks: the case, what it is about.
pub(crate) async fn resolve_case(conn: &mut PgConnection, resolution: &Resolution) -> Result<Case, Error> {
    let case = cases::lock(conn, resolution.case_id)
        .await?
        .ok_or(Error::NoCase)?;
    if case.resolved_at.is_some() {
        return Err(Error::CaseResolved);
    }
    match resolution.settlement {
        // Asked again as before; a person is told again after the same time.
        Settlement::None if case.kind == CaseKind::UnknownOutcome => {
            checks::told(conn, case.subject, case.subject_id).await?;
        }
        Settlement::None => {}
        Settlement::Succeeded => settle(conn, &case, true, &resolution.note).await?,
        Settlement::Failed => settle(conn, &case, false, &resolution.note).await?,
    }
    let resolved = cases::resolve(conn, case.id, &resolution.by, &resolution.note).await?;
    let resolved = resolved.ok_or(Error::Broken("a locked case was resolved"))?;
    tracing::info!(
        case_id = %resolved.id,
        case = resolved.kind.name(),
        number = resolved.number,
        settlement = ?resolution.settlement,
        by = resolution.by,
        "a case is resolved"
    );
    Ok(resolved)
}

async fn settle(conn: &mut PgConnection, case: &Case, succeeded: bool, note: &str) -> Result<(), Error> {
    match case.subject {
        Subject::Payment => Err(Error::NotSettleable(
            "payments are settled by their provider only",
        )),
        Subject::Refund => {
            let id = RefundId::from_uuid(case.subject_id);
            refunds::settle_by_person(conn, id, succeeded, note).await
        }
        Subject::Withdrawal => {
            let id = WithdrawalId::from_uuid(case.subject_id);
            withdrawals::settle_by_person(conn, id, succeeded).await
        }
    }
}
