//! What the catalogue of reasons promises beyond this crate.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod document;
mod named;
