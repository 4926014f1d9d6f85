//! For the people who look after the money: cases, deliveries of notifications, and providers' statements.

mod cases;
mod import;
mod read;
mod resolve_difference;

pub(crate) use cases::{Resolution, Settlement, resolve_case};
pub(crate) use import::{Day, import};
pub(crate) use read::{list_cases, list_differences, list_receipts, list_statements};
pub(crate) use resolve_difference::resolve_difference;
