//! Adds commission.

use ids::UserId;
use sqlx::PgConnection;

use crate::domain::{Amount, Movement};
use crate::error::Error;
use crate::store::commission::{self, Account, NewEntry};

/// Commission to add.
#[derive(Debug, Clone)]
pub(crate) struct Credit {
    pub(crate) credit_id: String,
    pub(crate) user_id: UserId,
    pub(crate) amount: Amount,
    pub(crate) note: String,
}

/// Adds commission, once for each credit id. Returns the account, and whether the credit is new.
pub(crate) async fn credit(conn: &mut PgConnection, credit: &Credit) -> Result<(Account, bool), Error> {
    let account = commission::open_and_lock(conn, credit.user_id).await?;
    let entry = NewEntry {
        user_id: credit.user_id,
        movement: Movement::Credited,
        amount: credit.amount,
        withdrawal_id: None,
        credit_id: Some(&credit.credit_id),
        note: (!credit.note.is_empty()).then_some(credit.note.as_str()),
    };
    if commission::book(conn, &entry).await? {
        let account = commission::find(conn, credit.user_id).await?;
        return Ok((account.ok_or(Error::Broken("an account is gone"))?, true));
    }
    let known = commission::of_credit(conn, &credit.credit_id)
        .await?
        .ok_or(Error::Broken("a credit conflicts with none"))?;
    let mismatch = |field| Err(Error::CreditMismatch { field });
    if known.user_id != credit.user_id {
        return mismatch("user_id");
    }
    if known.earned_delta != credit.amount.minor() {
        return mismatch("amount");
    }
    Ok((account, false))
}
