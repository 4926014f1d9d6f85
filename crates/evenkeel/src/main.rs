//! The evenkeel binary. Everything is in the library of the same name.

use std::process::ExitCode;

/// A twentieth more sagas a second than with the allocator of the C library (docs/benchmarks.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    evenkeel::main()
}
