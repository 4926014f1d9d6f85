//! A platform of our own for each end-to-end test: database, provider, services as processes.
//!
//! The tests are in `tests/`: `it` (what users see, quick), `definitions` (every definition in the repository against the
//! same faults), `faults` (processes killed under load), `recovery` (three orchestrators, and how long faults last), the latter
//! three slow (`make test-faults`, `make test-recovery`), `architecture` (which crate may use which).

mod billing;
mod books;
mod certificates;
mod devices;
mod example;
mod memory;
mod platform;

pub use billing::{Billing, Opening, PLAN, PRICE, QUOTA};
pub use books::under_way;
pub use certificates::Certificates;
pub use devices::Devices;
pub use example::descriptors;
pub use memory::resident_bytes;
pub use platform::{LONG, Mode, Orchestrator, Participant, Platform, binary, input, reason};
