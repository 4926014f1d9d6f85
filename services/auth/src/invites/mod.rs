//! Invite codes: made ahead, given to users one by one.
//!
//! A code is claimed from the pool in the transaction that makes its user. Nobody waits for another's claim, and nobody
//! loops: an empty pool gives none, and the user gets one later.

mod pool;

pub use pool::{Config, claim, owner, refill};
