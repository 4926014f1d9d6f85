//! Runs against a real Postgres and real sockets.

mod database;
mod grpc;
mod signals;
