//! The model check, and that it bites.

mod bites;
mod claims;
mod sound;
