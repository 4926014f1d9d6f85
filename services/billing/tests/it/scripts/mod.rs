//! What the stand-in for the orchestrator does for each saga: the steps of its definition in their order, and their
//! compensations the other way round. The definitions themselves run in the end-to-end tests.

pub(crate) mod payment;
pub(crate) mod purchase;
pub(crate) mod refund;
pub(crate) mod withdrawal;
