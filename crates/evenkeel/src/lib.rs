//! The one binary of Evenkeel: `evenkeel dev | serve | migrate | saga | quota | task | events | doubles | doctor | bench |
//! completions`.
//!
//! It parses the command line, wires services to their databases and listeners, and shows what the services answer.
//! It is not a place for business rules: every command that changes something does so through a service's gRPC API
//! (`migrate` and `events` work on the database, which is their subject), and everything below `wiring` only hands
//! configuration to `quota::build`, `task::build` and `saga::spawn`.
//!
//! Invariants:
//! * Standard output carries results, standard error everything else; `-o json` prints one JSON document and nothing
//!   beside it.
//! * Exit codes are those of [`exit::Code`] and nothing else.
//! * Text that came over the wire is printed without control characters.

use std::process::ExitCode;

mod bench;
mod certificates;
mod cli;
mod client;
mod cmd;
mod demo;
mod doctor;
mod exit;
mod identity;
mod output;
mod own;
mod proto_json;
mod render;
mod wiring;

/// Runs the command line of this process and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    cli::main()
}
