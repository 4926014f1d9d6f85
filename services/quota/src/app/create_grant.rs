use sqlx::PgConnection;

use crate::domain::{Balance, Grant};
use crate::error::Error;
use crate::{events, store};

use super::settle;

/// What a grant came to.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) balance: Balance,
    /// False if the grant was made before.
    pub(crate) created: bool,
}

/// Adds quota to a user, once per grant id and once per line of a source. The first grant opens the account. What comes
/// after its own expiry is granted and expires at once.
pub(crate) async fn create_grant(conn: &mut PgConnection, grant: &Grant) -> Result<Granted, Error> {
    let (mut before, due) = store::account::open_and_lock(conn, grant.user_id).await?;
    if due {
        settle::due(conn, &mut before).await?;
    }
    // Every other figure is at most this one.
    if before.granted.checked_add(grant.amount.get()).is_none() {
        return Err(Error::Invalid {
            field: "amount",
            problem: "would take the account above 9,223,372,036,854,775,807 granted in all",
        });
    }
    let event = events::granted(grant, before.available + grant.amount.get());
    if let Some(mut balance) = store::grant::create(conn, grant, &event).await? {
        if let Some(line) = &grant.line
            && store::clawback::closes(conn, line).await?
        {
            // Nothing of it stays: the caller rolls back.
            return Err(Error::SourceClawedBack);
        }
        if grant.expires_at.is_some() {
            settle::due(conn, &mut balance).await?;
        }
        return Ok(Granted {
            balance,
            created: true,
        });
    }
    let stored = store::grant::find(conn, &grant.grant_id)
        .await?
        .ok_or(Error::SourceGranted)?;
    match stored.differs(grant) {
        Some(field) => Err(Error::GrantMismatch { field }),
        None => Ok(Granted {
            balance: before,
            created: false,
        }),
    }
}
