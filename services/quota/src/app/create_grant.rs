use sqlx::PgConnection;

use crate::domain::{Balance, Grant};
use crate::error::Error;
use crate::{events, store};

/// What a grant came to.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) balance: Balance,
    /// False if the grant was made before.
    pub(crate) created: bool,
}

/// Adds quota to a user, once per grant id. The first grant opens the account.
pub(crate) async fn create_grant(conn: &mut PgConnection, grant: &Grant) -> Result<Granted, Error> {
    let before = store::account::open_and_lock(conn, grant.user_id).await?;
    // Every other figure is at most this one.
    if before.granted.checked_add(grant.amount.get()).is_none() {
        return Err(Error::Invalid {
            field: "amount",
            problem: "would take the account above 9,223,372,036,854,775,807 granted in all",
        });
    }
    let event = events::granted(grant, before.available + grant.amount.get());
    if let Some(balance) = store::grant::create(conn, grant, &event).await? {
        return Ok(Granted {
            balance,
            created: true,
        });
    }
    let (user_id, amount) = store::grant::find(conn, &grant.grant_id)
        .await?
        .ok_or(Error::Broken("a grant id is taken by no grant"))?;
    if user_id != grant.user_id {
        return Err(Error::GrantMismatch { field: "user_id" });
    }
    if amount != grant.amount.get() {
        return Err(Error::GrantMismatch { field: "amount" });
    }
    Ok(Granted {
        balance: before,
        created: false,
    })
}
