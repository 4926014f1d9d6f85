//! Saga service: the orchestrator's journal, owners, participants and API.

pub mod journal;
