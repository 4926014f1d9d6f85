//! Quota service: grants, reservations, ledger.
