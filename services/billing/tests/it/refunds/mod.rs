//! Money that goes back.

mod asking;
mod back;
mod guards;
mod refused;
mod shop;
mod stuck;
mod tables;
mod unknown;
