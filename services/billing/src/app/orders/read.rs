//! Reading orders.

use ids::{OrderId, UserId};

use super::super::App;
use crate::domain::{Machine as _, OrderStatus, Page};
use crate::error::Error;
use crate::store::order_lines::{self, Line};
use crate::store::orders::{self, Order};

/// Returns an order with its lines. `confined_to` is the only user whose orders the caller may see.
pub(crate) async fn get_order(
    app: &App,
    order_id: OrderId,
    confined_to: Option<UserId>,
) -> Result<(Order, Vec<Line>), Error> {
    let order = orders::find(&app.pool, order_id)
        .await?
        .filter(|order| confined_to.is_none_or(|user_id| order.user_id == user_id))
        .ok_or(Error::NoOrder)?;
    let lines = order_lines::of_order(&app.pool, order_id).await?;
    Ok((order, lines))
}

/// Lists a user's orders, newest first; those of all statuses if none is named.
pub(crate) async fn list_orders(
    app: &App,
    user_id: UserId,
    statuses: &[OrderStatus],
    page: &Page,
) -> Result<Vec<Order>, Error> {
    let statuses: Vec<&str> = statuses.iter().map(|status| status.name()).collect();
    Ok(orders::page(&app.pool, user_id, &statuses, page.before, page.limit()).await?)
}
