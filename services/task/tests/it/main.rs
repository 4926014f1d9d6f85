//! The task service against a real Postgres, a real HTTP provider double and real gRPC.

mod api;
mod crashes;
mod fake_sagas;
mod pipelines;
mod steps;
mod world;
