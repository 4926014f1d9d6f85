//! How often something may be tried, and codes by SMS. Both live in the key-value store; without it nobody logs in.

mod codes;
mod windows;

use std::time::Duration;

pub use codes::{Made, Purpose};
pub use windows::{Config, Limits};

/// Why something may not be tried now.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A limit is reached.
    #[error("too often; try again in {} s", .retry_after.as_secs_f64().ceil())]
    Limited {
        /// When its window ends.
        retry_after: Duration,
    },
    /// The store did not do as asked.
    #[error("the key-value store failed")]
    Store(#[from] kv::Error),
    /// The system has no randomness.
    #[error("no randomness")]
    Random,
}
