//! Passwords: which are taken, and how they are kept.

mod common;
mod hash;
mod policy;

pub use hash::{Config, Error, Passwords};
pub use policy::{Password, Unfit};
