//! What every service process shares: configuration, Postgres pools, migrations, gRPC listeners, the HTTP listener for
//! machines that watch, health, signals, drain, background tasks.
//!
//! What it is not: a framework. Nothing here calls back into a service; a service wires these parts in its `lib.rs`.
//!
//! Invariants:
//! - No globals: whatever must be shared is passed.
//! - Every queue, pool, message and wait has a bound with a stated default.
//! - Readiness depends on the service's own database only, never on another service.

pub mod admin;
pub mod config;
pub mod exit;
pub mod grpc;
pub mod health;
pub mod migrate;
pub mod pool;
mod shutdown;
mod supervisor;

pub use exit::{Failure, run};
pub use pool::{PoolConfig, PoolGauge};
pub use shutdown::Shutdown;
pub use supervisor::{Supervisor, panic_text};
