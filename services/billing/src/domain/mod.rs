//! What is decided without a database: statuses and how they change, numbers, amounts, and what answers of providers
//! mean. Pure; time is a parameter.

mod amount;
mod cancelling;
mod channel;
mod number;
mod page;
mod plan;
mod status;

pub(crate) use amount::{Amount, CNY};
pub(crate) use cancelling::Cancelling;
pub(crate) use channel::Channel;
pub(crate) use number::{ORDER, PAYMENT, REFUND, WITHDRAWAL, number};
pub(crate) use page::Page;
pub(crate) use plan::{Offer, PlanKind, plan_id};
pub(crate) use status::{Machine, OrderStatus, PaymentStatus, RefundStatus, WithdrawalStatus};
