//! Starts and stops a private Postgres server for development and tests.
