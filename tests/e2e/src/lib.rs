//! A platform of our own for each end-to-end test: database, provider, services as processes.
//!
//! The tests are in `tests/`: `it` (what users see, quick), `faults` (processes killed under load, slow; `make
//! test-faults`), `architecture` (which crate may use which).

mod platform;

pub use platform::{LONG, Mode, Orchestrator, Platform, binary, input, reason};
