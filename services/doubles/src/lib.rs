//! Doubles of outside providers, for development and tests.
