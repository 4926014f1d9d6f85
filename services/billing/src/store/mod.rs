//! All SQL of the service: one statement, one function.

pub(crate) mod cases;
pub(crate) mod checks;
pub(crate) mod commission;
pub(crate) mod differences;
pub(crate) mod memberships;
pub(crate) mod notifies;
pub(crate) mod order_lines;
pub(crate) mod order_payments;
pub(crate) mod orders;
pub(crate) mod payees;
pub(crate) mod payments;
pub(crate) mod plans;
pub(crate) mod receipts;
pub(crate) mod refunding;
pub(crate) mod refunds;
pub(crate) mod revocations;
mod row;
pub(crate) mod saga_starts;
pub(crate) mod statements;
pub(crate) mod undoing;
pub(crate) mod waiting;
pub(crate) mod withdrawals;
