//! The step CREATE_ORDER of the saga PAYMENT: our payment, and its number at the channel.

use barrier::{Again, Done};
use ids::{OrderId, PaymentId, SagaId, UserId};
use proto::billing::v1 as pb;
use rpc::step::StepCall;
use sqlx::PgConnection;

use super::{ask_again, end_unpaid, lock};
use crate::app::App;
use crate::domain::{self, Channel, OrderStatus, PaymentStatus};
use crate::error::Error;
use crate::grpc::id;
use crate::store;
use crate::store::checks::{self, Subject};
use crate::store::orders::Order;
use crate::store::payments::NewPayment;

pub(crate) async fn create_payment_record(
    app: &App,
    conn: &mut PgConnection,
    _call: &StepCall,
    request: &pb::CreatePaymentRecordRequest,
    _again: Again,
) -> Result<Done<pb::CreatePaymentRecordResponse>, Error> {
    let payment_id: PaymentId = id("payment_id", &request.payment_id)?;
    let order_id: OrderId = id("order_id", &request.order_id)?;
    let user_id: UserId = id("user_id", &request.user_id)?;
    let saga_id: SagaId = id("saga_id", &request.saga_id)?;
    let channel = Channel::from_message(request.channel()).ok_or(Error::Invalid {
        field: "channel",
        problem: "is missing or not known",
    })?;
    app.provider(channel)?;
    let order = store::orders::lock(conn, order_id).await?.ok_or(Error::NoOrder)?;
    let in_time = store::orders::is_in_time(&mut *conn, order_id).await?;
    payable(&order, in_time, user_id, request.amount)?;
    if let Some(open) = store::payments::open_of(&mut *conn, order_id, channel).await? {
        return Err(Error::PaymentOpen(open));
    }
    let payment_no = domain::number(domain::PAYMENT, payment_id.uuid());
    let new = NewPayment {
        id: payment_id,
        payment_no: &payment_no,
        order: &order,
        channel,
        saga_id,
    };
    if !store::payments::insert(conn, &new).await? {
        return Err(Error::Mismatch("payment"));
    }
    Ok(Done::Reply(pb::CreatePaymentRecordResponse { payment_no }))
}

/// Says whether a user can pay this amount for an order now.
pub(super) fn payable(order: &Order, in_time: bool, user_id: UserId, amount: i64) -> Result<(), Error> {
    if order.user_id != user_id {
        // Whose it is is nobody else's business.
        return Err(Error::NoOrder);
    }
    match order.status {
        OrderStatus::Pending if order.cancelling.is_some() => {
            return Err(Error::NotPayable("being cancelled"));
        }
        OrderStatus::Pending if !in_time => return Err(Error::NotPayable("expired")),
        OrderStatus::Pending => {}
        OrderStatus::Paid | OrderStatus::Completed => return Err(Error::NotPayable("paid")),
        OrderStatus::Cancelled => return Err(Error::NotPayable("cancelled")),
        OrderStatus::Refunded => return Err(Error::NotPayable("refunded")),
    }
    if order.final_amount != amount {
        return Err(Error::Price {
            price: order.final_amount,
            seen: amount,
        });
    }
    Ok(())
}

pub(crate) async fn discard_payment_record(
    _: &App,
    conn: &mut PgConnection,
    _call: &StepCall,
    request: &pb::DiscardPaymentRecordRequest,
    _again: Again,
) -> Result<Done<pb::DiscardPaymentRecordResponse>, Error> {
    let payment_id: PaymentId = id("payment_id", &request.payment_id)?;
    let (order, payment) = lock(conn, payment_id).await?.ok_or(Error::NoPayment)?;
    if payment.status == PaymentStatus::Pending && payment.saga_step.is_some() {
        // The channel may know it. ClosePayment comes first, so this is not met; failing it here could lose money.
        store::payments::set_closing(conn, payment_id, &request.cause).await?;
        checks::due(conn, Subject::Payment, payment_id.uuid(), payment.channel).await?;
        return Ok(Done::Pending {
            ask_again: ask_again(payment.created_at),
        });
    }
    if end_unpaid(conn, &order, &payment, PaymentStatus::Failed, &request.cause).await? {
        checks::done(conn, Subject::Payment, payment_id.uuid()).await?;
    }
    Ok(Done::Reply(pb::DiscardPaymentRecordResponse {}))
}
