//! ActivateOrder: a paid order is completed.

use barrier::{Again, Done};
use ids::OrderId;
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use serde_json::json;
use sqlx::PgConnection;

use super::super::{App, memberships};
use crate::domain::OrderStatus;
use crate::error::Error;
use crate::events::tell;
use crate::grpc::{encode, id};
use crate::store::order_lines::{self, Line};
use crate::store::orders::{self, Order};

/// Completes the order, opens the membership, and tells everybody. An order whose money went back stays as it is.
pub(crate) async fn activate_order(
    _: &App,
    conn: &mut PgConnection,
    _: &StepCall,
    request: &pb::ActivateOrderRequest,
    _: Again,
) -> Result<Done<pb::ActivateOrderResponse>, Error> {
    let order_id: OrderId = id("order_id", &request.order_id)?;
    let order = orders::lock(conn, order_id).await?.ok_or(Error::NoOrder)?;
    let completed_at = match order.status {
        OrderStatus::Paid => complete(conn, &order).await?,
        OrderStatus::Completed | OrderStatus::Refunded => order.completed_at.map(encode::time),
        OrderStatus::Pending | OrderStatus::Cancelled => {
            return Err(Error::Broken("an order that is not paid is being completed"));
        }
    };
    Ok(Done::Reply(pb::ActivateOrderResponse { completed_at }))
}

async fn complete(conn: &mut PgConnection, order: &Order) -> Result<Option<prost_types::Timestamp>, Error> {
    let at = orders::complete(conn, order.id)
        .await?
        .ok_or(Error::Broken("a locked order has changed"))?;
    let lines = order_lines::of_order(&mut *conn, order.id).await?;
    memberships::open(conn, order, &lines, at).await?;
    let completed = json!({
        "orderId": order.id.to_string(),
        "userId": order.user_id.to_string(),
        "deviceId": order.device_id,
        "amount": order.final_amount,
    });
    tell(conn, "order.completed", order.id.to_string(), completed).await?;
    let title = lines.first().map_or("", |line: &Line| line.title.as_str());
    let message = json!({
        "userId": order.user_id.to_string(),
        "type": "order.completed",
        "title": "购买成功",
        "message": format!("{title}（订单号 {}）", order.order_number),
        "priority": "normal",
    });
    tell(conn, "notification.send", order.user_id.to_string(), message).await?;
    Ok(Some(encode::time(at)))
}
