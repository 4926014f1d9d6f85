//! Private databases, fault injection and waiting helpers for tests.
