//! Orders: what is bought, and what follows from its being paid.

mod activate;
mod await_payment;
mod cancel;
mod create;
mod expire;
mod purchase;
mod read;
mod saga_status;
mod settled;
mod unwind;
mod validate_plan;

pub(crate) use activate::activate_order;
pub(crate) use await_payment::await_payment;
pub(crate) use cancel::cancel_order;
pub(crate) use create::create_order;
pub(crate) use expire::expire_orders;
pub(crate) use purchase::{Purchase, purchase_plan};
pub(crate) use read::{get_order, list_orders};
pub(crate) use saga_status::get_saga_status;
pub(crate) use settled::{closed, paid};
pub(crate) use unwind::{cancel_order_record, refund_order};
pub(crate) use validate_plan::validate_plan;
