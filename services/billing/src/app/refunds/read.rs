//! Showing refunds.

use ids::{PaymentId, RefundId, UserId};

use crate::app::App;
use crate::error::Error;
use crate::store::payments;
use crate::store::refunds::{self, Refund};

/// Shows a refund; to a user who is named, only if it is the user's.
pub(crate) async fn get_refund(app: &App, id: RefundId, visible_to: Option<UserId>) -> Result<Refund, Error> {
    refunds::find(&app.pool, id)
        .await?
        .filter(|refund| visible_to.is_none_or(|user_id| user_id == refund.user_id))
        .ok_or(Error::NoRefund)
}

/// Lists the refunds of a payment, oldest first; there are at most 50.
pub(crate) async fn list_refunds(
    app: &App,
    payment_id: PaymentId,
    visible_to: Option<UserId>,
) -> Result<Vec<Refund>, Error> {
    payments::find(&app.pool, payment_id)
        .await?
        .filter(|payment| visible_to.is_none_or(|user_id| user_id == payment.user_id))
        .ok_or(Error::NoPayment)?;
    Ok(refunds::of_payment(&app.pool, payment_id).await?)
}
