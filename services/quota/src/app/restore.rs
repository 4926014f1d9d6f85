use sqlx::PgConnection;

use crate::domain::{Balance, ChosenId, Part};
use crate::error::Error;
use crate::store::grant::Shift;
use crate::{events, store};

use super::settle::{self, Cause};

/// Undoes a clawback, once: what it took is available again, unless its grant is over or another clawback waits for it.
/// Returns what it had taken; nothing for an unknown id.
pub(crate) async fn restore(conn: &mut PgConnection, clawback_id: &ChosenId) -> Result<i64, Error> {
    let id = clawback_id.as_str();
    let Some(stored) = store::clawback::find(conn, id).await? else {
        return Ok(0);
    };
    let (mut balance, _) = store::account::lock(conn, stored.user_id)
        .await?
        .ok_or(Error::Broken("a clawback has no account"))?;
    let undone = store::clawback::undo(conn, id).await?;
    let parts = store::clawback::parts(conn, id).await?;
    if undone {
        for part in &parts {
            give_back(conn, &mut balance, id, part).await?;
        }
    }
    Ok(parts.iter().map(|part| part.taken).sum())
}

async fn give_back(
    conn: &mut PgConnection,
    balance: &mut Balance,
    clawback_id: &str,
    part: &Part,
) -> Result<(), Error> {
    let grant_id = part.grant_id.as_str();
    if part.taken > 0 {
        let event = events::of_grant(
            "quota.restored",
            balance.user_id,
            grant_id,
            Some(clawback_id),
            part.taken,
            balance.available.saturating_add(part.taken),
        );
        let shift = Shift {
            kind: "restored",
            grant_id,
            task_id: None,
            clawback_id: Some(clawback_id),
            expired: 0,
            clawed_back: -part.taken,
        };
        *balance = store::grant::shift(conn, &shift, &event).await?;
    }
    store::clawback::forgive(conn, part).await?;
    if let Some(grant) = store::grant::unsettled(conn, grant_id).await? {
        let cause = Cause {
            clawback_id: Some(clawback_id),
            ..Cause::default()
        };
        settle::one(conn, balance, grant, cause).await?;
    }
    Ok(())
}
