//! The engine over a journal in memory, scripted participants and virtual time.

mod crashes;
mod isolation;
mod requests;
mod sim;
mod world;
