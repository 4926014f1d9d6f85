//! The saga service against real parts: a Postgres of its own, and participants that answer over gRPC what a test tells
//! them to.

mod calls;
mod participant;
