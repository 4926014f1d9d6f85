//! The auth service over gRPC behind its layer, on a real Postgres, with either key-value store.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod caching;
mod configuration;
mod input;
mod keys;
mod logins;
mod outages;
mod passwords;
mod profile;
mod providers;
mod refreshing;
mod registration;
mod rights;
mod schema;
mod sessions;
mod support;
mod wechat;
