//! CALL_PROVIDER_REFUND: the provider is asked to give the money back, until it has said yes or no.

use std::time::Duration;

use barrier::{Again, Done};
use chrono::Utc;
use ids::RefundId;
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::held;
use crate::app::App;
use crate::domain::{RefundStatus, patience};
use crate::error::Error;
use crate::store::checks::{self, Subject};
use crate::store::payments;
use crate::store::refunds;

/// Shortest and longest wait until the step is looked at again, if no hint comes before; between them a tenth of the refund's
/// age.
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// The provider's answer comes from the checks; this only begins, and looks.
pub(crate) async fn call_provider_refund(
    _: &App,
    conn: &mut PgConnection,
    call: &StepCall,
    request: &pb::CallProviderRefundRequest,
    again: Again,
) -> Result<Done<pb::CallProviderRefundResponse>, Error> {
    let id: RefundId = request.refund_id.parse().map_err(|source| Error::Id {
        field: "refund_id",
        source,
    })?;
    let refund = if again.0 {
        refunds::find(&mut *conn, id).await?
    } else {
        refunds::lock(conn, id).await?
    }
    .ok_or(Error::NoRefund)?;
    match refund.status {
        RefundStatus::Pending => {
            let payment = payments::find(&mut *conn, refund.payment_id)
                .await?
                .ok_or(Error::Broken("a refund without a payment"))?;
            // From this commit on the provider may be called, and only its word ends the refund.
            held(refunds::begin(conn, id, &call.step).await?)?;
            checks::due(conn, Subject::Refund, id.uuid(), payment.channel).await?;
            Ok(Done::Pending {
                ask_again: SHORTEST_WAIT,
            })
        }
        RefundStatus::Processing | RefundStatus::Abnormal => Ok(Done::Pending {
            ask_again: patience(refund.created_at, Utc::now(), (SHORTEST_WAIT, LONGEST_WAIT)),
        }),
        RefundStatus::Succeeded => Ok(Done::Reply(pb::CallProviderRefundResponse {
            provider_refund_no: refund.provider_refund_no.unwrap_or_default(),
        })),
        RefundStatus::Closed => Err(Error::RefundClosed(refund.error.unwrap_or_default())),
        RefundStatus::Failed => Err(Error::ChannelRefused(refund.error.unwrap_or_default())),
    }
}
