//! One operation, one transaction. Each function runs inside the transaction of its caller: the public service opens
//! one of its own ([`transaction`]), a step runs in that of its barrier.

mod cancel;
mod confirm;
mod create_grant;
mod get_balance;
mod get_reservation;
mod list_ledger_entries;
mod reserve;

use process::PoolGauge;
use sqlx::PgConnection;

use crate::error::Error;

pub(crate) use cancel::cancel;
pub(crate) use confirm::confirm;
pub(crate) use create_grant::{Granted, create_grant};
pub(crate) use get_balance::get_balance;
pub(crate) use get_reservation::get_reservation;
pub(crate) use list_ledger_entries::list_ledger_entries;
pub(crate) use reserve::reserve;

/// Runs an operation in a transaction of its own; rolls back if it fails.
pub(crate) async fn transaction<T>(
    pool: &PoolGauge,
    operation: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Error>,
) -> Result<T, Error> {
    // Waiting for the account row, and then seeing what its last holder did, needs READ COMMITTED.
    let mut tx = pool.begin_with("begin isolation level read committed").await?;
    let done = operation(&mut tx).await?;
    tx.commit().await?;
    Ok(done)
}
