//! Saga service: the orchestrator's journal, owners, participants and API.
/// x
pub const DOMAIN: &str = "saga.evenkeel";
pub mod definitions;
pub mod participants;
