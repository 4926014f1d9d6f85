//! What a channel's word about a payment means for it and its order. One function, whoever brings the word: a
//! notification, a query, a close. The same word again changes nothing.

use chrono::{DateTime, Utc};
use ids::{PaymentId, RefundId};
use pay::PaymentState;
use proto::billing::v1 as pb;
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{close_others, end_unpaid, lock};
use crate::app::orders;
use crate::domain::{OrderStatus, PaymentStatus};
use crate::error::Error;
use crate::events::tell;
use crate::store;
use crate::store::cases::{self, CaseKind, NewCase};
use crate::store::checks::{self, Subject};
use crate::store::orders::Order;
use crate::store::payments::Payment;
use crate::store::saga_starts;

/// Ids of refunds of late payments are derived from those of the payments in here.
const LATE: Uuid = Uuid::from_u128(0x6f0d_3a51_0f5c_4d0e_9a7d_52b1_c0de_1a7e);
/// What the payer reads: "the order is closed, the money comes back".
const LATE_REASON: &str = "订单已关闭 款项退回";
/// Who asks for such a refund.
const OURSELVES: &str = "billing";
/// Of an order that the saga takes back: it takes no payment any more.
const SAGA: &str = "SAGA";

/// Who brought the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Notify,
    Query,
}

impl Source {
    const fn name(self) -> &'static str {
        match self {
            Self::Notify => "notify",
            Self::Query => "query",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Nothing new.
    Unchanged,
    Changed,
    /// It contradicts our books: why. A person was told, and nothing else was changed.
    Held(String),
}

/// Applies what a channel says of a payment, and locks the payment behind its order for that.
pub(crate) async fn settle(
    conn: &mut PgConnection,
    id: PaymentId,
    told: &pay::Payment,
    source: Source,
) -> Result<Settled, Error> {
    let (order, payment) = lock(conn, id).await?.ok_or(Error::NoPayment)?;
    settle_locked(conn, &order, &payment, told, source).await
}

/// As [`settle`], of a payment that is locked behind its order.
pub(super) async fn settle_locked(
    conn: &mut PgConnection,
    order: &Order,
    payment: &Payment,
    told: &pay::Payment,
    source: Source,
) -> Result<Settled, Error> {
    let id = payment.id;
    if let Some(why) = contradiction(payment, told) {
        hold(conn, payment, &why).await?;
        return Ok(Settled::Held(why));
    }
    let settled = match told.state {
        PaymentState::Pending => Settled::Unchanged,
        PaymentState::Paid | PaymentState::Refunded => paid(conn, order, payment, told).await?,
        PaymentState::Closed => {
            let why = payment.closing.as_deref().unwrap_or("EXPIRED");
            if end_unpaid(conn, order, payment, PaymentStatus::Closed, why).await? {
                Settled::Changed
            } else {
                Settled::Unchanged
            }
        }
    };
    if settled == Settled::Changed {
        tracing::info!(payment_id = %id, state = ?told.state, source = source.name(), "a payment was settled");
    }
    if told.state != PaymentState::Pending {
        // Paid, or closed by the channel itself: there is nothing left to ask.
        checks::done(conn, Subject::Payment, id.uuid()).await?;
    }
    Ok(settled)
}

/// Says how a word contradicts our books.
fn contradiction(payment: &Payment, told: &pay::Payment) -> Option<String> {
    let is_paid = matches!(told.state, PaymentState::Paid | PaymentState::Refunded);
    match told.amount {
        None if is_paid => Some("paid, without an amount".to_owned()),
        None => None,
        Some(amount)
            if amount.amount_minor == payment.amount && amount.currency.code() == payment.currency =>
        {
            None
        }
        Some(amount) => Some(format!(
            "the channel says {} {}, we say {} {}",
            amount.amount_minor, amount.currency, payment.amount, payment.currency
        )),
    }
}

async fn hold(conn: &mut PgConnection, payment: &Payment, why: &str) -> Result<(), Error> {
    let case = NewCase {
        kind: CaseKind::AmountMismatch,
        channel: payment.channel,
        subject: Subject::Payment,
        subject_id: payment.id.uuid(),
        number: &payment.channel_order_no,
        detail: why,
    };
    if cases::open(conn, &case).await? {
        tracing::warn!(payment_id = %payment.id, why, "a channel contradicts our books");
    }
    Ok(())
}

async fn paid(
    conn: &mut PgConnection,
    order: &Order,
    payment: &Payment,
    told: &pay::Payment,
) -> Result<Settled, Error> {
    let late = order.status != OrderStatus::Pending || order.cancelling.as_deref() == Some(SAGA);
    let provider_no = told.provider_no.as_deref();
    let Some(paid_at) = store::payments::set_paid(conn, payment.id, provider_no, told.paid_at, late).await?
    else {
        return Ok(Settled::Unchanged);
    };
    let data = json!({
        "paymentId": payment.id.to_string(),
        "orderId": order.id.to_string(),
        "userId": payment.user_id.to_string(),
        "channel": payment.channel.name(),
        "amount": payment.amount,
        "late": late,
    });
    tell(conn, "payment.succeeded", order.id.to_string(), data).await?;
    if late {
        give_back(conn, order, payment).await?;
    } else {
        take(conn, order, payment, paid_at).await?;
    }
    Ok(Settled::Changed)
}

/// The order is paid, and nobody shall pay it twice.
async fn take(
    conn: &mut PgConnection,
    order: &Order,
    payment: &Payment,
    paid_at: DateTime<Utc>,
) -> Result<(), Error> {
    orders::paid(conn, order, payment, paid_at).await?;
    close_others(conn, order, "PAID").await?;
    Ok(())
}

/// The money goes back. An order that waited for this payment to end is CANCELLED.
async fn give_back(conn: &mut PgConnection, order: &Order, payment: &Payment) -> Result<(), Error> {
    let refund_id = RefundId::derived(LATE, &payment.id.to_string()).to_string();
    let input = pb::PaymentRefundInput {
        refund_id: refund_id.clone(),
        payment_id: payment.id.to_string(),
        requested_by: OURSELVES.to_owned(),
        amount: payment.amount,
        cause: pb::RefundCause::Late.into(),
        reason: LATE_REASON.to_owned(),
    };
    let input_type = "evenkeel.billing.v1.PaymentRefundInput";
    saga_starts::insert(conn, "PAYMENT_REFUND", &refund_id, input_type, &input).await?;
    orders::closed(conn, order).await
}
