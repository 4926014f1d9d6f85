//! What can go wrong between us and a broker.

/// A broker, or the schema `events`, did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings cannot be used.
    #[error("events: {0}")]
    Config(String),
    /// The broker cannot be reached, or refuses.
    #[error("events: the broker does not answer as it should")]
    Broker(#[from] lapin::Error),
    /// The broker took longer than it may.
    #[error("events: the broker did not answer within {0} s")]
    Slow(u64),
    /// The database cannot be reached, or refuses.
    #[error("events: the database does not answer as it should")]
    Database(#[from] sqlx::Error),
    /// The broker is short of memory or disk and takes nothing at the moment.
    #[error("events: the broker takes nothing at the moment: it is short of memory or disk")]
    Blocked,
    /// The broker has ended a subscription or a channel, or has not confirmed what it was given.
    #[error("events: the broker has ended a subscription or a channel")]
    Ended,
}
