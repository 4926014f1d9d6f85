//! Fields that are encrypted at rest, and how they are still found.
//!
//! A field is sealed with AES-256-GCM under a key with a version; its place (table, column, row) is authenticated with it,
//! so that a sealed value cannot be moved to another row. To find a row by such a field, a blind index is kept beside it:
//! HMAC-SHA-256 of the normalised value under a key of its own. Whoever reads the database without the keys learns from it
//! which rows have equal values, and nothing else.

mod envelope;
mod vault;

pub use vault::{Config, Error, KeyConfig, Place, Vault};
