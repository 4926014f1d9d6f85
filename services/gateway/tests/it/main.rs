//! The gateway on a loopback port, in front of services that are fakes, on a real Postgres.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod bounds;
mod browsers;
mod draining;
mod failures;
mod farewells;
mod forwarding;
mod fuzz;
mod input;
mod keys;
mod metrics;
mod notifies;
mod pages;
mod raw;
mod support;
mod upstream;
mod watcher;
mod watching;
