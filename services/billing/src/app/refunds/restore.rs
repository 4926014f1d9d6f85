//! Undoes SET_REFUNDING_STATUS: no money goes back, and the payment is SUCCESS again.

use std::time::Duration;

use barrier::{Again, Done};
use ids::RefundId;
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::{held, lock};
use crate::app::App;
use crate::domain::{Machine as _, PaymentStatus, RefundCause, RefundStatus};
use crate::error::Error;
use crate::store::cases::{self, CaseKind, NewCase};
use crate::store::checks::Subject;
use crate::store::{refunding, refunds};

/// When to look again while the provider's word is missing.
const ASK_AGAIN: Duration = Duration::from_secs(1);

pub(crate) async fn restore_paid_status(
    _: &App,
    conn: &mut PgConnection,
    _: &StepCall,
    request: &pb::RestorePaidStatusRequest,
    _: Again,
) -> Result<Done<pb::RestorePaidStatusResponse>, Error> {
    let id: RefundId = request.refund_id.parse().map_err(|source| Error::Id {
        field: "refund_id",
        source,
    })?;
    let locked = lock(conn, id).await?;
    let (payment, refund) = (&locked.payment, &locked.refund);
    match refund.status {
        RefundStatus::Pending => {
            let why = format!("given up before the provider was asked: {}", request.cause);
            let change = (RefundStatus::Pending, RefundStatus::Failed);
            held(refunds::change(conn, id, change, Some(&why), None).await?)?;
        }
        RefundStatus::Closed | RefundStatus::Failed => {}
        // The provider was asked, so only its word counts; and a yes is not undone.
        RefundStatus::Processing | RefundStatus::Abnormal => {
            return Ok(Done::Pending { ask_again: ASK_AGAIN });
        }
        RefundStatus::Succeeded => return Err(Error::Broken("a refund that succeeded is to be undone")),
    }
    if payment.status != PaymentStatus::Refunding {
        return Err(Error::Broken(
            "the payment of an open refund is not being refunded",
        ));
    }
    held(refunding::give_up(conn, payment.id).await?)?;
    // Nobody waits for money that goes back by itself, so a person has to see that it did not.
    if payment.late || refund.cause != RefundCause::Requested {
        let case = NewCase {
            kind: CaseKind::RefundFailed,
            channel: payment.channel,
            subject: Subject::Refund,
            subject_id: id.uuid(),
            number: &refund.refund_no,
            detail: "money that had to go back did not",
        };
        cases::open(conn, &case).await?;
    }
    tracing::info!(refund_id = %id, saga_id = %refund.saga_id, status = refund.status.name(), "a refund was undone");
    Ok(Done::Reply(pb::RestorePaidStatusResponse {}))
}
