//! The few key-value operations we need, on Redis or on Postgres.
//!
//! [`Kv`] holds what may be lost: every value has an end, every operation is one atomic step of the store, and every
//! wait is bounded ([`Config::timeout`]). With a Redis URL the store is Redis; without one it is an unlogged table of the
//! process's Postgres. Both pass the same tests.
//!
//! # What it is not
//! A database. What must never be lost or doubled is decided by a constraint in Postgres, not here. Nor a lock service:
//! a lease taken here says who should work, and the fence that keeps a late one from writing is checked elsewhere.
//!
//! # Invariants
//! * Time is the store's clock, for every replica of every service.
//! * A key is used with one group of operations: plain values, counters, windows, versions or rotations.
//! * Keys have at most [`MAX_KEY_BYTES`], values [`MAX_VALUE_BYTES`]; at most [`MAX_LIMITS`] windows are counted at once.
//! * After [`Error::Unavailable`] an operation has happened or not; nobody knows. Callers repeat only what may happen
//!   twice.
//!
//! # What a loss means
//! The store is *lost* while it does not answer in time, and *flushed* when it comes back empty: a Redis without
//! persistence that restarted, a Postgres that crashed.
//!
//! | use | key | lost | flushed |
//! |---|---|---|---|
//! | families of refresh tokens | `refresh:{user}:session` | nobody can refresh or log in: 503; access tokens go on until they end | every session has to log in again |
//! | epochs of users | `epoch:{user}` | admin calls are refused: 503; users' calls do not look | an admin who was demoted keeps the rest of an access token, 15 min at most, until the auth service writes the epoch again |
//! | rate limits | `rate:{what}:whom` | the caller decides: logins and codes are refused, reads go on | every window begins anew: at most one more window's worth |
//! | codes by SMS | `code:{phone}` | none can be sent or checked | codes on their way are void; a new one is asked for |
//! | caches | `cache:{what}:id` | read from the database | filled again; a version that is older than the database's may come back for the time a reader takes |
//! | idempotency of requests | `idempotency:{caller}:server:key` | 503 before anything is done; the caller repeats | a repetition runs again, and the database refuses or replays it |
//! | tickets of watchers | `ticket:{ticket}` | no new connection by ticket | tickets are void; a new one is asked for |
//!
//! # Operating it
//! Redis 6.2 or later, alone or behind a proxy that speaks to a cluster: the first part of a key is its hash tag. Windows
//! that are counted together have to have the same first part there. `maxmemory-policy` must not evict keys by age or
//! use: `noeviction`, or `volatile-ttl` at worst.

mod config;
mod error;
mod key;
mod limit;
mod metric;
mod postgres;
mod redis;
mod rotation;
mod store;
mod sweep;
mod versioned;

pub use config::Config;
pub use error::{Cause, Error};
pub use key::Key;
pub use limit::{Hit, Limit};
pub use rotation::Rotation;
pub use store::Kv;
pub use sweep::Job;
pub use versioned::Versioned;

/// Schema of the Postgres store.
pub const SCHEMA: &str = "kv";

/// Migrations of the schema.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/kv");

/// Longest key, in bytes; [`Key`] never makes a longer one.
pub const MAX_KEY_BYTES: usize = 200;

/// Largest value, in bytes.
pub const MAX_VALUE_BYTES: usize = 64 * 1024;

/// Most windows that are counted at once.
pub const MAX_LIMITS: usize = 16;
