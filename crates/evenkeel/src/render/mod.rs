//! What the services answer, as text for people. Pure: messages in, tables out; "now" is a parameter.

pub(crate) mod balance;
pub(crate) mod definition;
pub(crate) mod saga;
pub(crate) mod task;
pub(crate) mod time;
