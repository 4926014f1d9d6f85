//! What can go wrong, and what callers read of it.

use std::collections::HashMap;

use barrier::{Refusal, Stop};
use ids::PaymentId;
use rpc::error::Reason;
use tonic::Status;

use crate::DOMAIN;
use crate::domain::Channel;

/// Why an operation has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A field is absent, malformed or out of range.
    #[error("{field} {problem}")]
    Invalid {
        field: &'static str,
        problem: &'static str,
    },
    /// A field is not an id of the wanted kind.
    #[error("{field}: {source}")]
    Id {
        field: &'static str,
        source: ids::ParseIdError,
    },
    /// A page token was not made for this list.
    #[error("page_token was not given out for this list")]
    PageToken,
    /// The caller may not see all of what it asks for.
    #[error("only administrators and services may ask for {0}")]
    Confined(&'static str),
    /// There is no such plan.
    #[error("there is no plan of this id and version")]
    NoPlan,
    /// The plan is not on sale.
    #[error("the plan is not on sale")]
    PlanRetired,
    /// The buyer has seen another price.
    #[error("the price is {price}, not {seen}")]
    Price { price: i64, seen: i64 },
    /// There is no such order.
    #[error("there is no such order")]
    NoOrder,
    /// The request id, or the id it gives, stands for something else.
    #[error("the request id was used for another {0}")]
    Mismatch(&'static str),
    /// The order cannot be paid.
    #[error("the order is {0} and cannot be paid")]
    NotPayable(&'static str),
    /// The order cannot be cancelled.
    #[error("the order is {0} and cannot be cancelled")]
    NotCancellable(&'static str),
    /// The order was cancelled before it was paid.
    #[error("the order was cancelled: {0}")]
    OrderCancelled(String),
    /// There is no such payment.
    #[error("there is no such payment")]
    NoPayment,
    /// The order has an open payment for the channel.
    #[error("the order has an open payment for this channel")]
    PaymentOpen(PaymentId),
    /// The payment cannot be closed.
    #[error("the payment is {0} and cannot be closed")]
    NotClosable(&'static str),
    /// No provider is configured for the channel.
    #[error("no provider is configured for {}", .0.name())]
    NoChannel(Channel),
    /// The provider said no.
    #[error("the provider refused: {0}")]
    ChannelRefused(String),
    /// There is no such refund.
    #[error("there is no such refund")]
    NoRefund,
    /// The payment cannot be refunded.
    #[error("the payment cannot be refunded: {0}")]
    NotRefundable(&'static str),
    /// More than what is left of the payment.
    #[error("{wanted} wanted, {left} left")]
    RefundTooLarge { wanted: i64, left: i64 },
    /// Another refund is under way.
    #[error("another refund of the payment is under way")]
    RefundOpen,
    /// The provider closed the refund.
    #[error("the provider closed the refund: {0}")]
    RefundClosed(String),
    /// The user has less commission than wanted.
    #[error("{wanted} wanted, {available} available")]
    CommissionShort { wanted: i64, available: i64 },
    /// There is no such withdrawal.
    #[error("there is no such withdrawal")]
    NoWithdrawal,
    /// The credit id stands for another credit.
    #[error("there is a credit of this id with another {field}")]
    CreditMismatch { field: &'static str },
    /// There is no such case.
    #[error("there is no such case")]
    NoCase,
    /// The case was resolved.
    #[error("the case was resolved before")]
    CaseResolved,
    /// What the case is about cannot be settled so.
    #[error("this cannot be settled so: {0}")]
    NotSettleable(&'static str),
    /// The provider has no statement of the day so far.
    #[error("the provider has no statement of this day: {0}")]
    NoStatement(String),
    /// There is no such difference.
    #[error("there is no such difference")]
    NoDifference,
    /// There is no such saga, or it is not the caller's.
    #[error("there is no such saga of the caller's")]
    NoSaga,
    /// The orchestrator cannot take more work.
    #[error("too many operations are under way; try again later")]
    Overloaded,
    /// A step said no; its answer passes through.
    #[error("{message}")]
    Refused {
        reason: Reason,
        domain: String,
        message: String,
    },
    /// The saga went back before what was asked for existed, for no reason of the caller's.
    #[error("it was not done ({0}); try again with another request id")]
    NotDone(String),
    /// The bound of the wait has passed.
    #[error("it is not done yet; a retry with the same request id finds it")]
    NotYet,
    /// The orchestrator does not answer, or not as it should.
    #[error("the saga service does not answer; a retry with the same request id finds what was begun")]
    Orchestrator(#[source] Box<Status>),
    /// A provider does not answer, or not as it should.
    #[error("the provider does not answer: {0}")]
    Provider(String),
    /// A recipient cannot be sealed or opened.
    #[error("the recipient cannot be sealed or opened")]
    Keys(#[source] kms::Error),
    /// The rows contradict each other.
    #[error("broken invariant: {0}")]
    Broken(&'static str),
    /// The database did not do as asked.
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
}

/// What an error is for the caller.
enum Answer {
    /// A definite no, with the facts that explain it.
    No(Reason, HashMap<String, String>),
    /// Nothing was done, or nobody knows: it may be repeated.
    Later(Reason),
    /// The outcome is unknown, and the cause is for the log.
    Unknown,
}

impl From<events::outbox::Error> for Error {
    fn from(error: events::outbox::Error) -> Self {
        match error {
            // Our events are made of ids, numbers and names.
            events::outbox::Error::Invalid { .. } => Self::Broken("an event of ours cannot be published"),
            events::outbox::Error::Database(error) => Self::Database(error),
        }
    }
}

impl Error {
    fn answer(&self) -> Answer {
        let no = |reason| Answer::No(reason, HashMap::new());
        let with = |reason, facts: &[(&str, String)]| {
            let facts = facts
                .iter()
                .map(|(name, fact)| ((*name).to_owned(), fact.clone()));
            Answer::No(reason, facts.collect())
        };
        match self {
            Self::Invalid { field, .. } => with(Reason::InvalidArgument, &[("field", (*field).to_owned())]),
            Self::Id { field, .. } => with(Reason::InvalidId, &[("field", (*field).to_owned())]),
            Self::PageToken => no(Reason::InvalidPageToken),
            Self::Confined(_) => no(Reason::PermissionDenied),
            Self::NoPlan | Self::PlanRetired => no(Reason::PlanNotAvailable),
            Self::Price { price, .. } => with(Reason::PriceMismatch, &[("price", price.to_string())]),
            Self::NoOrder => no(Reason::OrderNotFound),
            Self::Mismatch(_) => no(Reason::OrderMismatch),
            Self::NotPayable(_) => no(Reason::OrderNotPayable),
            Self::NotCancellable(_) => no(Reason::OrderNotCancellable),
            Self::OrderCancelled(_) => no(Reason::OrderCancelled),
            Self::NoPayment => no(Reason::PaymentNotFound),
            Self::PaymentOpen(id) => with(Reason::PaymentInProgress, &[("payment_id", id.to_string())]),
            Self::NotClosable(_) => no(Reason::PaymentNotClosable),
            Self::NoChannel(_) => no(Reason::ChannelNotAvailable),
            Self::ChannelRefused(_) => no(Reason::ChannelRefused),
            Self::NoRefund => no(Reason::RefundNotFound),
            Self::NotRefundable(_) => no(Reason::RefundNotAllowed),
            Self::RefundTooLarge { left, .. } => with(Reason::RefundTooLarge, &[("left", left.to_string())]),
            Self::RefundOpen => no(Reason::RefundInProgress),
            Self::RefundClosed(_) => no(Reason::RefundClosed),
            Self::CommissionShort { wanted, available } => with(
                Reason::CommissionInsufficient,
                &[
                    ("wanted", wanted.to_string()),
                    ("available", available.to_string()),
                ],
            ),
            Self::NoWithdrawal => no(Reason::WithdrawalNotFound),
            Self::CreditMismatch { field } => with(Reason::CreditMismatch, &[("field", (*field).to_owned())]),
            Self::NoCase => no(Reason::CaseNotFound),
            Self::CaseResolved => no(Reason::CaseResolved),
            Self::NotSettleable(_) => no(Reason::SettlementNotPossible),
            Self::NoStatement(_) => no(Reason::StatementNotReady),
            Self::NoDifference => no(Reason::DifferenceNotFound),
            Self::NoSaga => no(Reason::SagaNotFound),
            Self::Refused { reason, .. } => no(*reason),
            Self::Overloaded => Answer::Later(Reason::Overloaded),
            Self::NotDone(_) | Self::NotYet => Answer::Later(Reason::Unavailable),
            Self::Orchestrator(_) | Self::Provider(_) | Self::Keys(kms::Error::Unavailable(_)) => {
                tracing::warn!(error = barrier::chain(self), "a call to another part failed");
                Answer::Later(Reason::Unavailable)
            }
            Self::Keys(_) | Self::Broken(_) | Self::Database(_) => Answer::Unknown,
        }
    }
}

impl From<Error> for Status {
    /// Logs what is unknown; a definite no is the caller's to report.
    fn from(error: Error) -> Self {
        match error.answer() {
            Answer::No(reason, facts) => {
                let domain = if let Error::Refused { domain, .. } = &error {
                    domain
                } else {
                    DOMAIN
                };
                reason.status_with(domain, error.to_string(), facts)
            }
            Answer::Later(reason) => reason.status(DOMAIN, error.to_string()),
            Answer::Unknown => {
                let reason = barrier::reason(&error);
                tracing::warn!(
                    reason = reason.name(),
                    error = barrier::chain(&error),
                    "request failed"
                );
                reason.status(DOMAIN, "the request failed; it may be repeated")
            }
        }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error.answer() {
            Answer::No(reason, facts) => Self::Refuse(Refusal {
                reason: reason.into(),
                message: error.to_string(),
                facts,
            }),
            Answer::Later(_) | Answer::Unknown => Self::fail(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internals_do_not_leave_the_service() {
        let status = Status::from(Error::Broken("the parts do not add up"));
        assert_eq!(rpc::error::info(&status).unwrap().reason, "INTERNAL");
        assert!(!status.message().contains("parts"), "{status}");
        assert!(matches!(Stop::from(Error::Broken("x")), Stop::Fail(_)));
        assert!(matches!(Stop::from(Error::NotYet), Stop::Fail(_)));
    }

    #[test]
    fn a_no_carries_the_facts_that_explain_it() {
        let status = Status::from(Error::RefundTooLarge { wanted: 3, left: 2 });
        let info = rpc::error::info(&status).unwrap();
        assert_eq!(
            (info.reason.as_str(), info.metadata["left"].as_str()),
            ("REFUND_TOO_LARGE", "2")
        );
    }
}
