//! Asking for money back. Answers at once: what follows is the saga's.

use std::time::Duration;

use chrono::Utc;
use ids::{PaymentId, RefundId, SagaId, UserId};
use proto::billing::v1 as pb;
use proto::saga::v1::SagaPhase;
use uuid::Uuid;

use super::{NO_REASON, standing};
use crate::app::{App, Begin, begin, without};
use crate::domain::{self, RefundCause, RefundStatus};
use crate::error::Error;
use crate::store::payments::Payment;
use crate::store::refunds::{self, Basis, Refund};

/// Namespace of the ids of refunds. Fixed for ever: a retry finds its refund by it.
const REFUNDS: Uuid = Uuid::from_u128(0x6f1d_2a7c_93b4_4e58_a0c6_51e8_7d3b_9f24);
/// Longest reason, in characters: WeChat takes 80 bytes.
const MAX_REASON_CHARS: usize = 40;

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// A user, for its own payments, while `refund_within` lasts.
    User(UserId),
    /// An administrator or a service, by name, for all payments at any time.
    Privileged(String),
}

/// A refund that somebody wants.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    refund_id: RefundId,
    payment_id: PaymentId,
    /// 0: all that is left.
    amount: i64,
    reason: String,
    caller: Caller,
}

/// A refund that was begun, or had been before.
#[derive(Debug, Clone)]
pub(crate) struct Begun {
    pub(crate) saga_id: SagaId,
    pub(crate) payment: Payment,
    pub(crate) refund: Refund,
}

impl Wish {
    /// Reads a wish. The same payment and request id are the same refund.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the amount is negative, or the reason cannot be shown to a payer.
    pub(crate) fn parse(
        payment_id: PaymentId,
        amount: i64,
        reason: &str,
        request_id: String,
        caller: Caller,
    ) -> Result<Self, Error> {
        let invalid = |field, problem| Error::Invalid { field, problem };
        if amount < 0 {
            return Err(invalid(
                "amount",
                "must be minor units, or 0 for all that is left",
            ));
        }
        let reason = if reason.is_empty() { NO_REASON } else { reason };
        if reason.chars().count() > MAX_REASON_CHARS || pay::Subject::new(reason).is_err() {
            return Err(invalid(
                "reason",
                "must be at most 40 characters without / = & , ` \"",
            ));
        }
        Ok(Self {
            refund_id: RefundId::derived(REFUNDS, &format!("{payment_id}/{request_id}")),
            payment_id,
            amount,
            reason: reason.to_owned(),
            caller,
        })
    }

    fn requested_by(&self) -> String {
        match &self.caller {
            Caller::User(user_id) => user_id.to_string(),
            Caller::Privileged(name) => name.clone(),
        }
    }

    /// Refuses a payment that the caller may not see.
    fn admit(&self, payment: &Payment) -> Result<(), Error> {
        match self.caller {
            Caller::User(user_id) if user_id != payment.user_id => Err(Error::NoPayment),
            Caller::User(_) | Caller::Privileged(_) => Ok(()),
        }
    }

    /// Refuses what a user asks for too late.
    fn in_time(&self, payment: &Payment, within: Duration) -> Result<(), Error> {
        let Caller::User(_) = self.caller else {
            return Ok(());
        };
        let age = payment
            .paid_at
            .map(|paid_at| (Utc::now() - paid_at).to_std().unwrap_or_default());
        if age.is_some_and(|age| age >= within) {
            return Err(Error::NotRefundable(
                "the time for it is over; an administrator may do it",
            ));
        }
        Ok(())
    }

    /// Tells whether a refund that is there is the one that is wanted.
    fn is(&self, refund: &Refund) -> bool {
        refund.payment_id == self.payment_id
            && refund.reason == self.reason
            && (self.amount == 0 || self.amount == refund.amount)
    }

    /// The refund as the saga will write it.
    fn expected(&self, payment: &Payment, amount: i64, saga_id: SagaId) -> Refund {
        Refund {
            id: self.refund_id,
            refund_no: domain::number(domain::REFUND, self.refund_id.uuid()),
            payment_id: payment.id,
            order_id: payment.order_id,
            user_id: payment.user_id,
            amount,
            currency: payment.currency.clone(),
            status: RefundStatus::Pending,
            cause: RefundCause::Requested,
            reason: self.reason.clone(),
            provider_refund_no: None,
            taken_at: None,
            error: None,
            saga_id,
            booked: false,
            created_at: Utc::now(),
            ended_at: None,
        }
    }
}

/// Starts the saga PAYMENT_REFUND, or finds what a call with the same request id had begun. Waits for no step of it.
///
/// # Errors
/// Why the payment cannot be refunded; [`Error::Mismatch`] if the request id stands for another refund; why the saga that
/// it stands for was given up before there was a refund.
pub(crate) async fn create_refund(app: &App, wish: &Wish) -> Result<Begun, Error> {
    let basis = refunds::find_basis(&app.pool, wish.payment_id, wish.refund_id).await?;
    let Basis {
        payment,
        order,
        has_refund,
    } = basis.ok_or(Error::NoPayment)?;
    wish.admit(&payment)?;
    if has_refund {
        let refund = refunds::find(&app.pool, wish.refund_id).await?;
        let refund = refund.ok_or(Error::Broken("a refund is gone"))?;
        if !wish.is(&refund) {
            return Err(Error::Mismatch("refund"));
        }
        return Ok(Begun {
            saga_id: refund.saga_id,
            payment,
            refund,
        });
    }
    wish.in_time(&payment, app.config.refund_within)?;
    let standing = standing(&payment, order);
    let amount = standing.refundable(RefundCause::Requested, wish.amount)?;
    let input = pb::PaymentRefundInput {
        refund_id: wish.refund_id.to_string(),
        payment_id: payment.id.to_string(),
        requested_by: wish.requested_by(),
        // As it was asked for, so that a retry has the same input.
        amount: wish.amount,
        cause: pb::RefundCause::Requested.into(),
        reason: wish.reason.clone(),
    };
    let saga = Begin {
        saga: "PAYMENT_REFUND",
        business_id: input.refund_id.clone(),
        input_type: "evenkeel.billing.v1.PaymentRefundInput",
        input: &input,
        user_id: payment.user_id,
        what: "refund",
    };
    let (saga_id, saga) = begin(app, &saga, None).await?;
    match saga.phase() {
        SagaPhase::Unspecified | SagaPhase::Running | SagaPhase::Completed => {}
        // A retry of one that was refused before it had a refund to show.
        SagaPhase::Compensating | SagaPhase::Compensated | SagaPhase::Resolved => {
            return Err(without(&saga));
        }
    }
    let refund = wish.expected(&payment, amount, saga_id);
    Ok(Begun {
        saga_id,
        payment,
        refund,
    })
}
