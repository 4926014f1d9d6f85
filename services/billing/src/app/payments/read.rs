//! Looking at payments.

use ids::{OrderId, PaymentId, UserId};

use crate::app::App;
use crate::domain::Page;
use crate::error::Error;
use crate::store;
use crate::store::payments::Payment;

/// Finds a payment. `of`: whose it must be; that of somebody else is not there.
pub(crate) async fn get_payment(
    app: &App,
    of: Option<UserId>,
    payment_id: PaymentId,
) -> Result<Payment, Error> {
    let found = store::payments::find(&app.pool, payment_id).await?;
    found
        .filter(|payment| of.is_none_or(|user_id| user_id == payment.user_id))
        .ok_or(Error::NoPayment)
}

/// Returns a page of a user's payments, newest first, and the token of the next page.
pub(crate) async fn list_payments(
    app: &App,
    user_id: UserId,
    order_id: Option<OrderId>,
    page: &Page,
) -> Result<(Vec<Payment>, String), Error> {
    let mut payments = store::payments::list(&app.pool, user_id, order_id, page.before, page.limit()).await?;
    let next = page.cut(&mut payments, |payment| payment.id.uuid());
    Ok((payments, next))
}
