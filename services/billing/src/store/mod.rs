//! All SQL of the service: one statement, one function.

pub(crate) mod cases;
pub(crate) mod checks;
pub(crate) mod commission;
pub(crate) mod differences;
pub(crate) mod orders;
pub(crate) mod payments;
pub(crate) mod receipts;
pub(crate) mod refunds;
mod row;
pub(crate) mod saga_starts;
pub(crate) mod statements;
pub(crate) mod withdrawals;
