//! One operation, one transaction. Each function runs inside the transaction of its caller: the public service opens
//! one of its own ([`transaction`]), a step runs in that of its barrier.

mod cancel;
mod claw_back;
mod confirm;
mod create_grant;
mod expire;
mod extend;
mod get_balance;
mod get_reservation;
mod list_grants;
mod list_ledger_entries;
mod reserve;
mod restore;
mod settle;

use process::PoolGauge;
use sqlx::PgConnection;

use crate::domain::Balance;
use crate::error::Error;
use crate::{SCHEMA, events};

pub(crate) use cancel::cancel;
pub(crate) use claw_back::claw_back;
pub(crate) use confirm::confirm;
pub(crate) use create_grant::{Granted, create_grant};
pub(crate) use expire::{expire_grants, expire_reservation};
pub(crate) use extend::extend;
pub(crate) use get_balance::get_balance;
pub(crate) use get_reservation::get_reservation;
pub(crate) use list_grants::list_grants;
pub(crate) use list_ledger_entries::list_ledger_entries;
pub(crate) use reserve::reserve;
pub(crate) use restore::restore;

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

/// Tells that a user has less than `low_below` left, if that is new: `before` is what there was.
async fn tell_low(
    conn: &mut PgConnection,
    before: i64,
    balance: &Balance,
    low_below: i64,
) -> Result<(), Error> {
    if balance.available < low_below && low_below <= before {
        let event = events::low(balance.user_id, balance.available, low_below);
        ::events::outbox::insert(conn, SCHEMA, &event).await?;
    }
    Ok(())
}
