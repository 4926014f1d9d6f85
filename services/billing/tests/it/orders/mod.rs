//! Plans, orders and memberships: what they do, and what must never happen to them.

mod activation;
mod cancelling;
mod constraints;
mod crashes;
mod expiry;
mod input;
mod plans;
mod purchase;
mod saga_status;
mod steps;
mod support;
mod undoing;
