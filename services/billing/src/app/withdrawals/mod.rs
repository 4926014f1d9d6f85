//! Commissions and their withdrawal.
//!
//! A withdrawal is a TCC saga: the amount is frozen, the provider is to send it, and then it is withdrawn or available
//! again. What the provider says is applied by [`apply`] alone, whoever brings it; while the outcome is not known, the
//! amount stays frozen. Locks: the commission account, the withdrawal, the row of `provider_checks`.

mod apply;
mod begin;
mod check;
mod create;
mod credit;
mod deduct;
mod freeze;
mod payee;
mod read;
mod settle;
mod unfreeze;

use ids::{UserId, WithdrawalId};
use sqlx::PgConnection;

use crate::error::Error;
use crate::store::withdrawals::Withdrawal;
use crate::store::{commission, withdrawals};

pub(crate) use apply::{Applied, apply};
pub(crate) use begin::call_provider_transfer;
pub(crate) use check::check;
pub(crate) use create::{Wish, create};
pub(crate) use credit::{Credit, credit};
pub(crate) use deduct::deduct_commission;
pub(crate) use freeze::freeze_commission;
pub(crate) use payee::{Payee, forget_payees};
pub(crate) use read::{get, get_commission, list, list_entries};
pub(crate) use settle::settle_by_person;
pub(crate) use unfreeze::unfreeze_commission;

/// Locks a withdrawal, after its account.
async fn lock(conn: &mut PgConnection, id: WithdrawalId) -> Result<Withdrawal, Error> {
    // Whose it is never changes.
    let found = withdrawals::find(&mut *conn, id)
        .await?
        .ok_or(Error::NoWithdrawal)?;
    lock_account(conn, found.user_id).await?;
    withdrawals::lock(conn, id).await?.ok_or(Error::NoWithdrawal)
}

async fn lock_account(conn: &mut PgConnection, user_id: UserId) -> Result<commission::Account, Error> {
    commission::lock(conn, user_id)
        .await?
        .ok_or(Error::Broken("a withdrawal has no commission account"))
}

/// Reads the id in a request of a step.
fn withdrawal_id(text: &str) -> Result<WithdrawalId, Error> {
    text.parse().map_err(|source| Error::Id {
        field: "withdrawal_id",
        source,
    })
}
