//! CreateOrder: the order, at the price of the plan's version.

use std::time::Duration;

use barrier::{Again, Done};
use ids::{OrderId, SagaId, UserId};
use proto::billing::v1 as pb;
use proto::quota::v1::GrantKind;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::super::App;
use crate::domain::{ORDER, Offer, PlanKind, number};
use crate::error::Error;
use crate::grpc::{encode, id};
use crate::store::order_lines::{self, Line, MEMBERSHIP, QUOTA};
use crate::store::orders::{self, NewOrder};
use crate::store::plans;

/// Makes the order. The version that was validated counts, whatever is offered by now.
pub(crate) async fn create_order(
    app: &App,
    conn: &mut PgConnection,
    _: &StepCall,
    request: &pb::CreateOrderRequest,
    _: Again,
) -> Result<Done<pb::CreateOrderResponse>, Error> {
    let order_id: OrderId = id("order_id", &request.order_id)?;
    let user_id: UserId = id("user_id", &request.user_id)?;
    let saga_id: SagaId = id("saga_id", &request.saga_id)?;
    let pay_within = match request.pay_within {
        None => app.config.pay_within,
        Some(wanted) => pay_within(wanted)?,
    };
    let version = i32::try_from(request.plan_version).map_err(|_| Error::NoPlan)?;
    let plan = plans::find(&mut *conn, &request.plan_id, Some(version))
        .await?
        .ok_or(Error::NoPlan)?;
    let offer = &plan.offer;
    if offer.amount != request.amount {
        return Err(Error::Price {
            price: offer.amount,
            seen: request.amount,
        });
    }
    let new = NewOrder {
        id: order_id,
        order_number: &number(ORDER, order_id.uuid()),
        user_id,
        plan_id: &plan.plan_id,
        plan_version: plan.version,
        amount: offer.amount,
        currency: &plan.currency,
        saga_id,
        pay_within,
    };
    // The barrier lets one call of one saga come here; an order of this id is another saga's.
    let order = orders::insert(conn, &new)
        .await?
        .ok_or(Error::Mismatch("order"))?;
    order_lines::insert(conn, order_id, &lines(offer)).await?;
    let quota_kind = match offer.kind {
        PlanKind::Membership => GrantKind::Membership,
        PlanKind::TopUp => GrantKind::TopUp,
    };
    Ok(Done::Reply(pb::CreateOrderResponse {
        order_number: order.order_number,
        expires_at: Some(encode::time(order.expires_at)),
        quota: offer.quota,
        grants_quota: offer.quota > 0,
        quota_kind: quota_kind.into(),
    }))
}

/// Says what an offer grants. The quota service knows its line by the number 0.
fn lines(offer: &Offer) -> Vec<Line> {
    let quota = (offer.quota > 0).then_some((QUOTA, offer.quota, None, offer.quota_days));
    let membership = offer
        .tier
        .clone()
        .map(|tier| (MEMBERSHIP, i64::from(offer.membership_days), Some(tier), 0));
    (0..)
        .zip(quota.into_iter().chain(membership))
        .map(|(line, (kind, quantity, tier, expires_after_days))| Line {
            line,
            kind: kind.to_owned(),
            title: offer.title.clone(),
            quantity,
            tier,
            expires_after_days,
        })
        .collect()
}

fn pay_within(wanted: prost_types::Duration) -> Result<Duration, Error> {
    Duration::try_from(wanted)
        .ok()
        .filter(|wanted| crate::config::PAY_WITHIN.contains(wanted))
        .ok_or(Error::Invalid {
            field: "pay_within",
            problem: "must be 1 min to 1 day",
        })
}
