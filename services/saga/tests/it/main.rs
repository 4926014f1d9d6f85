//! The saga service against real parts: a Postgres of its own, and participants that answer over gRPC what a test tells
//! them to.

mod bad_input;
mod calls;
mod definitions;
mod participant;
mod replicas;
mod sagas;
mod service;
