//! All SQL of the service, one statement one function. Who moves quota holds the lock on the account row.

pub(crate) mod account;
pub(crate) mod clawback;
pub(crate) mod due;
pub(crate) mod grant;
pub(crate) mod ledger;
pub(crate) mod reservation;
