//! Orders that nobody has paid in time.

use chrono::DateTime;
use ids::OrderId;
use uuid::Uuid;

use super::super::{App, Changed};
use super::cancel::{begin, finish_cancel};
use crate::domain::Cancelling;
use crate::error::Error;
use crate::store::orders;

/// How many are read at once.
const AT_ONCE: i64 = 100;

/// Begins to cancel all orders whose time is over, and ends what can be ended. One that fails does not keep the others from
/// it; the last failure is returned.
pub(crate) async fn expire_orders(app: &App) -> Result<(), Error> {
    let overdue = begin_all(app).await;
    overdue.and(finish_all(app).await)
}

async fn begin_all(app: &App) -> Result<(), Error> {
    let (mut place, mut last) = ((DateTime::UNIX_EPOCH, OrderId::from_uuid(Uuid::nil())), Ok(()));
    loop {
        let found = orders::overdue(&app.steps_pool, place, AT_ONCE).await?;
        let Some(end) = found.last() else {
            return last;
        };
        place = *end;
        for (_, order_id) in found {
            if let Err(error) = expire(app, order_id).await {
                last = Err(error);
            }
        }
    }
}

async fn expire(app: &App, order_id: OrderId) -> Result<(), Error> {
    App::transaction(&app.steps_pool, async |conn| {
        let Some(order) = orders::lock(conn, order_id).await? else {
            return Ok(());
        };
        // It may have been paid, or cancelled by another process, since it was read.
        if orders::is_overdue(conn, order_id).await? {
            begin(app, conn, &order, Cancelling::Expired, Cancelling::Expired.name()).await?;
        }
        Ok(())
    })
    .await?;
    app.due.notify_one();
    // If its payments have to be closed first, the last of them brings the hint that counts.
    app.hints.leave(Changed::Order(order_id));
    Ok(())
}

/// Whoever closes the last payment of an order cancels the order with it; this is for what was missed, such as a payment
/// that a person has settled in the tables.
async fn finish_all(app: &App) -> Result<(), Error> {
    let (mut above, mut last) = (OrderId::from_uuid(Uuid::nil()), Ok(()));
    loop {
        let found = orders::cancellable(&app.steps_pool, above, AT_ONCE).await?;
        let Some(end) = found.last() else {
            return last;
        };
        above = *end;
        for order_id in found {
            let done = App::transaction(&app.steps_pool, async |conn| {
                match orders::lock(conn, order_id).await? {
                    Some(order) => finish_cancel(conn, &order).await,
                    None => Ok(false),
                }
            });
            match done.await {
                Ok(true) => app.hints.leave(Changed::Order(order_id)),
                Ok(false) => {}
                Err(error) => last = Err(error),
            }
        }
    }
}
