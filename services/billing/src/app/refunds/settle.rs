//! What a person knows of a refund, where the provider does not say it.

use ids::RefundId;
use sqlx::PgConnection;

use super::held;
use crate::domain::{Machine as _, RefundStatus};
use crate::error::Error;
use crate::store::checks::{self, Subject};
use crate::store::refunds;

/// Ends a refund by a person's word: it succeeded, or it is CLOSED for the reason in `note`. The saga goes on from there.
///
/// Locks the refund, then its check. Should the provider say something else later, that opens a case.
///
/// # Errors
/// [`Error::NotSettleable`] if the provider was not asked so far, or the refund has ended in another way. Ending it again
/// in the same way does nothing.
pub(crate) async fn settle_by_person(
    conn: &mut PgConnection,
    refund_id: RefundId,
    succeeded: bool,
    note: &str,
) -> Result<(), Error> {
    let refund = refunds::lock(conn, refund_id).await?.ok_or(Error::NoRefund)?;
    let to = if succeeded {
        RefundStatus::Succeeded
    } else {
        RefundStatus::Closed
    };
    match refund.status {
        RefundStatus::Processing | RefundStatus::Abnormal => {}
        RefundStatus::Pending => {
            return Err(Error::NotSettleable("the provider was not asked for the refund"));
        }
        RefundStatus::Succeeded | RefundStatus::Closed | RefundStatus::Failed => {
            return if refund.status == to {
                Ok(())
            } else {
                Err(Error::NotSettleable("the refund has ended in another way"))
            };
        }
    }
    let error = (!succeeded).then_some(note);
    held(refunds::change(conn, refund_id, (refund.status, to), error, None).await?)?;
    checks::done(conn, Subject::Refund, refund_id.uuid()).await?;
    tracing::info!(
        refund_id = %refund_id,
        saga_id = %refund.saga_id,
        from = refund.status.name(),
        to = to.name(),
        source = "person",
        "a refund was settled"
    );
    Ok(())
}
