//! The transcoder as its callers see it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod bodies;
mod broken;
mod calls;
mod documents;
mod problems;
mod promises;
mod queries;
mod random;
mod replies;
mod routes;
mod world;
