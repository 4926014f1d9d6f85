//! Participants: which services may be called, where they are, and how a step of theirs is called.

mod answer;
mod call;
mod codec;
mod publish;
mod request;
mod targets;

pub use call::GrpcParticipants;
pub use publish::Outbox;
pub(crate) use publish::TOKEN;
pub use targets::{Config, ConfigError, Target, Targets};
