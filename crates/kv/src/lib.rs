//! The few key-value operations we need, on Redis or on Postgres.
