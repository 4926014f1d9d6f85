//! A user does not want to pay this way.

use ids::{PaymentId, UserId};

use super::{get_payment, lock};
use crate::app::App;
use crate::domain::{Machine as _, PaymentStatus};
use crate::error::Error;
use crate::store;
use crate::store::checks::{self, Subject};
use crate::store::payments::Payment;

/// Has an open payment closed at its channel. One that has ended unpaid is answered as it is. `of`: whose it must be.
pub(crate) async fn cancel_payment(
    app: &App,
    of: Option<UserId>,
    payment_id: PaymentId,
) -> Result<Payment, Error> {
    // Whose it is never changes, so it can be looked at before.
    get_payment(app, of, payment_id).await?;
    let payment = App::transaction(&app.pool, async |conn| {
        let (_, payment) = lock(conn, payment_id).await?.ok_or(Error::NoPayment)?;
        match payment.status {
            PaymentStatus::Pending => {}
            PaymentStatus::Closed | PaymentStatus::Failed => return Ok(payment),
            PaymentStatus::Success | PaymentStatus::Refunding | PaymentStatus::Refunded => {
                return Err(Error::NotClosable(payment.status.name()));
            }
        }
        store::payments::set_closing(conn, payment_id, "USER").await?;
        checks::due(conn, Subject::Payment, payment_id.uuid(), payment.channel).await?;
        store::payments::find(&mut *conn, payment_id)
            .await?
            .ok_or(Error::NoPayment)
    })
    .await?;
    app.due.notify_one();
    Ok(payment)
}
