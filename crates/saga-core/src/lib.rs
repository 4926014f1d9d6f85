//! The saga state machine: no I/O, no clock, no async.
