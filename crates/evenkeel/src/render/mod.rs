//! What the services answer, as text for people. Pure: messages in, tables out; "now" is a parameter.

pub(crate) mod audit;
pub(crate) mod balance;
pub(crate) mod definition;
pub(crate) mod desk;
pub(crate) mod saga;
pub(crate) mod status;
pub(crate) mod task;
pub(crate) mod time;
pub(crate) mod why;
