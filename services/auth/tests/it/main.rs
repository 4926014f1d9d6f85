//! The auth service over gRPC behind its layer, and its parts by themselves, on a real Postgres and either key-value store.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod caching;
mod codes;
mod configuration;
mod input;
mod invites;
mod keys;
mod limiting;
mod limits;
mod logins;
mod outages;
mod parts;
mod passwords;
mod profile;
mod providers;
mod refreshing;
mod registration;
mod rights;
mod schema;
mod senders;
mod sessions;
mod support;
mod wechat;
