//! What is decided without a database: statuses and how they change, numbers, amounts, and what answers of providers
//! mean. Pure; time is a parameter.

mod amount;
mod ask;
mod cancelling;
mod channel;
mod movement;
mod number;
mod page;
mod patience;
mod plan;
mod refund;
mod statement;
mod status;
mod told;
mod transfer;

pub(crate) use amount::{Amount, CNY};
pub(crate) use ask::{Ask, Known, ask};
pub(crate) use cancelling::Cancelling;
pub(crate) use channel::Channel;
pub(crate) use movement::Movement;
pub(crate) use number::{ORDER, PAYMENT, REFUND, WITHDRAWAL, number};
pub(crate) use page::Page;
pub(crate) use patience::patience;
pub(crate) use plan::{Offer, PlanKind, plan_id};
pub(crate) use refund::{Heard, RefundCause, Standing, heard};
pub(crate) use statement::{
    Book, BookStatus, Difference, DifferenceKind, Line, bounds, compare, due_days, today,
};
pub(crate) use status::{Machine, OrderStatus, PaymentStatus, RefundStatus, WithdrawalStatus};
pub(crate) use told::Told;
pub(crate) use transfer::{Verdict, verdict};
