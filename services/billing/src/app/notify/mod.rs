//! What providers tell on their own: received, kept, and applied afterwards.

mod allowance;
mod apply;
mod receive;

pub(crate) use allowance::Allowance;
pub(crate) use apply::apply;
pub(crate) use receive::{describe, receive};
