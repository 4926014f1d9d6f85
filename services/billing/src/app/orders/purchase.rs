//! PurchasePlan: starts the saga PAYMENT_PURCHASE and waits, bounded, for the order to exist.
//!
//! No row is written here. The order's id follows from user and request id, so a retry finds the same saga, and so the same
//! order or the same refusal.

use ids::{OrderId, SagaId, UserId};
use proto::billing::v1::PaymentPurchaseInput;
use proto::saga::v1::GetSagaRequest;
use uuid::Uuid;

use super::super::{App, Begin, begin, sagas};
use crate::error::Error;
use crate::grpc::{encode, id};
use crate::store::order_lines::{self, Line};
use crate::store::orders::{self, Order};

/// Name of the saga.
const SAGA: &str = "PAYMENT_PURCHASE";
const INPUT: &str = "evenkeel.billing.v1.PaymentPurchaseInput";
/// Step that makes the order exist.
const CREATE_STEP: &str = "CREATE_ORDER";
/// What is made, for errors.
const WHAT: &str = "order";
/// Namespace of the ids of orders, which are made of `<user id>/<request id>`. Never changes.
const ORDER_NAMESPACE: Uuid = Uuid::from_u128(0xd1b4_7a3e_06c9_4f52_b8d7_1f4e_a9c3_2d60);

/// Somebody wants to buy a plan.
#[derive(Debug, Clone)]
pub(crate) struct Purchase {
    pub(crate) user_id: UserId,
    pub(crate) plan_id: String,
    /// The price that the buyer has seen, in minor units.
    pub(crate) amount: i64,
    pub(crate) request_id: String,
}

impl Purchase {
    fn order_id(&self) -> OrderId {
        OrderId::derived(ORDER_NAMESPACE, &format!("{}/{}", self.user_id, self.request_id))
    }

    /// Tells whether an order is the one that is wanted. Whose it is, its id says.
    fn is(&self, order: &Order) -> bool {
        order.plan_id == self.plan_id && order.amount == self.amount
    }

    fn is_of(&self, input: &PaymentPurchaseInput) -> bool {
        input.plan_id == self.plan_id
            && input.amount == self.amount
            && input.user_id == self.user_id.to_string()
    }

    fn input(&self, app: &App) -> PaymentPurchaseInput {
        let pay_within = app.config.pay_within;
        // What happened at the end is asked for until it is known, and a person is told before the purchase is undone.
        let wait_for_payment = pay_within + app.config.case_after * 2;
        PaymentPurchaseInput {
            order_id: self.order_id().to_string(),
            user_id: self.user_id.to_string(),
            plan_id: self.plan_id.clone(),
            amount: self.amount,
            requested_at: Some(encode::time(chrono::Utc::now())),
            pay_within: prost_types::Duration::try_from(pay_within).ok(),
            wait_for_payment: prost_types::Duration::try_from(wait_for_payment).ok(),
        }
    }
}

/// Buys a plan, or finds the order made before under the same request id. The order is absent if it takes longer than the
/// wait.
pub(crate) async fn purchase_plan(
    app: &App,
    purchase: &Purchase,
) -> Result<(SagaId, Option<(Order, Vec<Line>)>), Error> {
    if let Some(found) = find(app, purchase).await? {
        return Ok((found.0.saga_id, Some(found)));
    }
    let input = purchase.input(app);
    let (input, begun) = match start(app, purchase, &input, Some(CREATE_STEP)).await {
        // The time of the request is in the input: a retry has to bring what the first one brought.
        Err(Error::Mismatch(_)) => {
            let input = first_input(app, purchase).await?;
            let begun = start(app, purchase, &input, Some(CREATE_STEP)).await;
            (input, begun)
        }
        begun => (input, begun),
    };
    match begun {
        Ok(saga_id) => Ok((saga_id, find(app, purchase).await?)),
        // It is durable, and goes on: the caller learns which saga it is.
        Err(Error::NotYet) => Ok((start(app, purchase, &input, None).await?, None)),
        Err(error) => Err(error),
    }
}

async fn find(app: &App, purchase: &Purchase) -> Result<Option<(Order, Vec<Line>)>, Error> {
    let Some(order) = orders::find(&app.pool, purchase.order_id()).await? else {
        return Ok(None);
    };
    if !purchase.is(&order) {
        return Err(Error::Mismatch(WHAT));
    }
    let lines = order_lines::of_order(&app.pool, order.id).await?;
    Ok(Some((order, lines)))
}

async fn start(
    app: &App,
    purchase: &Purchase,
    input: &PaymentPurchaseInput,
    step: Option<&'static str>,
) -> Result<SagaId, Error> {
    let wanted = Begin {
        saga: SAGA,
        business_id: purchase.order_id().to_string(),
        input_type: INPUT,
        input,
        user_id: purchase.user_id,
        what: WHAT,
    };
    let (saga_id, _) = begin(app, &wanted, step).await?;
    Ok(saga_id)
}

/// Returns the input with which the saga was started, if that is what is wanted now.
async fn first_input(app: &App, purchase: &Purchase) -> Result<PaymentPurchaseInput, Error> {
    let order_id = purchase.order_id().to_string();
    let request = GetSagaRequest {
        r#type: SAGA.to_owned(),
        business_id: order_id,
        ..GetSagaRequest::default()
    };
    let saga = sagas::find(app, request).await?;
    let input: PaymentPurchaseInput = sagas::input(INPUT, &saga.input_json)?;
    // The order's id is that of the business key, which the input has to repeat.
    let _: OrderId = id("order_id", &input.order_id)?;
    if !purchase.is_of(&input) {
        return Err(Error::Mismatch(WHAT));
    }
    Ok(input)
}
