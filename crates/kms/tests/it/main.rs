//! Fields under keys of a file: sealing, key files, and walks over a real Postgres. What the key service does is tested
//! where its double is, in `services/doubles`.

#![expect(
    clippy::unwrap_used,
    reason = "a test ends where something is not as it must be"
)]

mod fields;
mod files;
mod walks;
mod world;
