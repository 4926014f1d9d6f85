//! gRPC listeners. A service has two: the public one and, on a port of its own with limits of its own, the one for steps.

mod body;
mod listener;
mod request;
mod serve;

pub use listener::Listener;
pub use request::Permit;
pub use serve::{Error, Limits, serve};
