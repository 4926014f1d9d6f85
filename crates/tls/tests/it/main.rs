//! Files as they are read and replaced, and connections as they are made and refused.

#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests; allow-unwrap-in-tests sees only test functions"
)]

mod connections;
mod files;
mod support;
