//! OrderService.

use ids::{OrderId, SagaId};
use proto::billing::v1 as pb;
use proto::billing::v1::order_service_server::OrderService;
use tonic::{Request, Response, Status};

use super::{encode, id, request_id, text};
use crate::DOMAIN;
use crate::app::App;
use crate::app::orders::{self, Purchase};
use crate::domain::{Amount, Machine as _, OrderStatus, Page, plan_id};
use crate::error::Error;
use crate::store::order_lines::{Line, MEMBERSHIP, QUOTA};
use crate::store::orders::Order;

/// Longest reason for a cancellation, in characters.
const MAX_REASON_CHARS: usize = 200;

/// The service.
#[derive(Debug)]
pub(super) struct Orders {
    pub(super) app: App,
}

#[tonic::async_trait]
impl OrderService for Orders {
    async fn purchase_plan(
        &self,
        request: Request<pb::PurchasePlanRequest>,
    ) -> Result<Response<pb::PurchasePlanResponse>, Status> {
        let named = request.get_ref();
        let user_id = token::caller(&request).subject_user(&named.user_id, DOMAIN)?;
        let request_id = request_id(&request, &named.request_id)?;
        let request = request.into_inner();
        let amount = Amount::new(request.amount).ok_or(Error::Invalid {
            field: "amount",
            problem: "must be 1 to 10,000,000,000",
        })?;
        let purchase = Purchase {
            user_id,
            plan_id: plan_id(request.plan_id)?,
            amount: amount.minor(),
            request_id,
        };
        let (saga_id, order) = orders::purchase_plan(&self.app, &purchase).await?;
        let message = if order.is_some() {
            "the order waits for a payment"
        } else {
            "the order is being made; ask for the saga, or again with the same request id"
        };
        Ok(Response::new(pb::PurchasePlanResponse {
            saga_id: saga_id.to_string(),
            message: message.to_owned(),
            order: order.map(|(order, lines)| encode(order, lines)),
        }))
    }

    async fn get_saga_status(
        &self,
        request: Request<pb::GetSagaStatusRequest>,
    ) -> Result<Response<pb::GetSagaStatusResponse>, Status> {
        let confined_to = token::caller(&request).confined_to()?;
        let saga_id: SagaId = id("saga_id", &request.get_ref().saga_id)?;
        let found = orders::get_saga_status(&self.app, saga_id, confined_to).await?;
        Ok(Response::new(found))
    }

    async fn list_orders(
        &self,
        request: Request<pb::ListOrdersRequest>,
    ) -> Result<Response<pb::ListOrdersResponse>, Status> {
        let named = request.get_ref();
        let user_id = token::caller(&request).subject_user(&named.user_id, DOMAIN)?;
        let statuses = named.statuses.iter().map(|number| status(*number));
        let statuses = statuses.collect::<Result<Vec<_>, _>>()?;
        let names: Vec<&str> = statuses.iter().map(|status| status.name()).collect();
        let list = format!("orders of {user_id} {}", names.join(","));
        let page = Page::new(list, named.page_size, &named.page_token)?;
        let mut found = orders::list_orders(&self.app, user_id, &statuses, &page).await?;
        let next_page_token = page.cut(&mut found, |order| order.id.uuid());
        Ok(Response::new(pb::ListOrdersResponse {
            orders: found.into_iter().map(|order| encode(order, Vec::new())).collect(),
            next_page_token,
        }))
    }

    async fn get_order(
        &self,
        request: Request<pb::GetOrderRequest>,
    ) -> Result<Response<pb::GetOrderResponse>, Status> {
        let confined_to = token::caller(&request).confined_to()?;
        let order_id: OrderId = id("order_id", &request.get_ref().order_id)?;
        let (order, lines) = orders::get_order(&self.app, order_id, confined_to).await?;
        Ok(Response::new(pb::GetOrderResponse {
            order: Some(encode(order, lines)),
        }))
    }

    async fn cancel_order(
        &self,
        request: Request<pb::CancelOrderRequest>,
    ) -> Result<Response<pb::CancelOrderResponse>, Status> {
        let confined_to = token::caller(&request).confined_to()?;
        let request = request.get_ref();
        let order_id: OrderId = id("order_id", &request.order_id)?;
        let problem = "must be at most 200 printable characters";
        let reason = text("reason", &request.reason, MAX_REASON_CHARS, problem)?;
        orders::cancel_order(&self.app, order_id, confined_to, &reason).await?;
        let (order, lines) = orders::get_order(&self.app, order_id, confined_to).await?;
        Ok(Response::new(pb::CancelOrderResponse {
            order: Some(encode(order, lines)),
        }))
    }
}

fn status(number: i32) -> Result<OrderStatus, Error> {
    let wrong = Error::Invalid {
        field: "statuses",
        problem: "must be known statuses",
    };
    match pb::OrderStatus::try_from(number) {
        Ok(pb::OrderStatus::Pending) => Ok(OrderStatus::Pending),
        Ok(pb::OrderStatus::Paid) => Ok(OrderStatus::Paid),
        Ok(pb::OrderStatus::Completed) => Ok(OrderStatus::Completed),
        Ok(pb::OrderStatus::Cancelled) => Ok(OrderStatus::Cancelled),
        Ok(pb::OrderStatus::Refunded) => Ok(OrderStatus::Refunded),
        Ok(pb::OrderStatus::Unspecified) | Err(_) => Err(wrong),
    }
}

/// Encodes an order.
fn encode(order: Order, lines: Vec<Line>) -> pb::Order {
    pb::Order {
        order_id: order.id.to_string(),
        order_number: order.order_number,
        user_id: order.user_id.to_string(),
        plan_id: order.plan_id,
        // A CHECK keeps it above 0.
        plan_version: order.plan_version.unsigned_abs(),
        device_id: order.device_id.unwrap_or_default(),
        amount: order.amount,
        final_amount: order.final_amount,
        currency: order.currency,
        refunded_amount: order.refunded_amount,
        status: pb::OrderStatus::from(order.status).into(),
        cancel_reason: order.cancel_reason.unwrap_or_default(),
        cancelling: order.status == OrderStatus::Pending && order.cancelling.is_some(),
        saga_id: order.saga_id.to_string(),
        expires_at: Some(encode::time(order.expires_at)),
        created_at: Some(encode::time(order.created_at)),
        paid_at: order.paid_at.map(encode::time),
        completed_at: order.completed_at.map(encode::time),
        cancelled_at: order.cancelled_at.map(encode::time),
        refunded_at: order.refunded_at.map(encode::time),
        lines: lines.into_iter().map(line).collect(),
    }
}

fn line(line: Line) -> pb::OrderLine {
    let kind = match line.kind.as_str() {
        QUOTA => pb::OrderLineKind::Quota,
        MEMBERSHIP => pb::OrderLineKind::Membership,
        _ => pb::OrderLineKind::Unspecified,
    };
    pb::OrderLine {
        line: line.line.unsigned_abs(),
        kind: kind.into(),
        title: line.title,
        quantity: line.quantity,
        tier: line.tier.unwrap_or_default(),
    }
}
