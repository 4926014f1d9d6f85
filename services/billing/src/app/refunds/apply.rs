//! What a provider says of a refund, whoever brings it: a notification, the answer to a call, a query.

use sqlx::PgConnection;

use super::{held, tell};
use crate::domain::{Heard, Machine as _, RefundStatus, heard};
use crate::error::Error;
use crate::store::cases::{self, CaseKind, NewCase};
use crate::store::checks::{self, Subject};
use crate::store::refunds::{self, Known};

/// Written down for a refund that its provider has closed, or cannot carry out.
const CLOSED: &str = "the provider closed it";
const ABNORMAL: &str = "the payer's bank does not take it; an operator has to act at the provider";

/// What became of a provider's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applied {
    /// Something is known that was not.
    Changed,
    /// It was known, or is older than what is.
    Unchanged,
    /// It cannot be, for this reason; nothing of the refund was changed, and a case is open if the refund is ours.
    Held(&'static str),
}

/// Applies what a provider says of a refund. `source` says who brings it, for the log.
///
/// Locks the refund, then its check, which is deleted if the refund has ended. The saga reads the outcome at its next
/// look.
pub(crate) async fn apply(
    conn: &mut PgConnection,
    told: &pay::Refund,
    source: &'static str,
) -> Result<Applied, Error> {
    match refunds::lock_by_no(conn, told.number.as_str()).await? {
        Some(known) => to(conn, &known, told, source).await,
        None => Ok(Applied::Held("no refund of ours has this number")),
    }
}

/// Applies what a provider says to a refund that is locked.
pub(super) async fn to(
    conn: &mut PgConnection,
    known: &Known,
    told: &pay::Refund,
    source: &'static str,
) -> Result<Applied, Error> {
    let refund = &known.refund;
    if told.payment.as_str() != known.channel_order_no {
        let detail = format!("the provider names the payment {}", told.payment);
        return hold(
            conn,
            known,
            CaseKind::AmountMismatch,
            "of another payment",
            &detail,
        )
        .await;
    }
    if let Some(amount) = told.amount
        && (amount.amount_minor != refund.amount || amount.currency.code() != refund.currency)
    {
        let detail = format!("the provider names {} {}", amount.amount_minor, amount.currency);
        return hold(
            conn,
            known,
            CaseKind::AmountMismatch,
            "of another amount",
            &detail,
        )
        .await;
    }
    let to = match heard(refund.status, told.state) {
        Heard::Nothing => return note_taken(conn, known, told).await,
        Heard::Becomes(to) => to,
        Heard::Contradiction => {
            let detail = format!(
                "the provider says {:?}, and it is {}",
                told.state,
                refund.status.name()
            );
            return hold(
                conn,
                known,
                CaseKind::UnknownOutcome,
                "it contradicts what is known",
                &detail,
            )
            .await;
        }
    };
    let error = match to {
        RefundStatus::Closed => Some(CLOSED),
        RefundStatus::Abnormal => Some(ABNORMAL),
        RefundStatus::Pending | RefundStatus::Processing | RefundStatus::Succeeded | RefundStatus::Failed => {
            None
        }
    };
    let heard = refunds::Heard {
        provider_refund_no: told.provider_no.as_deref(),
        error,
        at: told.refunded_at,
    };
    held(refunds::heard(conn, refund.id, (refund.status, to), &heard).await?)?;
    if to == RefundStatus::Abnormal {
        open(conn, known, CaseKind::AbnormalRefund, ABNORMAL).await?;
        tell(conn, "refund.abnormal", refund).await?;
    } else {
        checks::done(conn, Subject::Refund, refund.id.uuid()).await?;
    }
    tracing::info!(
        refund_id = %refund.id,
        saga_id = %refund.saga_id,
        from = refund.status.name(),
        to = to.name(),
        source,
        "a provider's word of a refund"
    );
    Ok(Applied::Changed)
}

/// Writes that the provider has the refund, if that is news.
async fn note_taken(conn: &mut PgConnection, known: &Known, told: &pay::Refund) -> Result<Applied, Error> {
    let refund = &known.refund;
    let open = matches!(refund.status, RefundStatus::Processing | RefundStatus::Abnormal);
    let news =
        refund.taken_at.is_none() || (refund.provider_refund_no.is_none() && told.provider_no.is_some());
    if !open || !news {
        return Ok(Applied::Unchanged);
    }
    refunds::taken(conn, refund.id, told.provider_no.as_deref()).await?;
    Ok(Applied::Changed)
}

async fn hold(
    conn: &mut PgConnection,
    known: &Known,
    kind: CaseKind,
    why: &'static str,
    detail: &str,
) -> Result<Applied, Error> {
    open(conn, known, kind, detail).await?;
    Ok(Applied::Held(why))
}

async fn open(conn: &mut PgConnection, known: &Known, kind: CaseKind, detail: &str) -> Result<(), Error> {
    let case = NewCase {
        kind,
        channel: known.channel,
        subject: Subject::Refund,
        subject_id: known.refund.id.uuid(),
        number: &known.refund.refund_no,
        detail,
    };
    if cases::open(conn, &case).await? {
        tracing::warn!(
            refund_id = %known.refund.id,
            saga_id = %known.refund.saga_id,
            kind = kind.name(),
            detail,
            "a case about a refund"
        );
    }
    Ok(())
}
