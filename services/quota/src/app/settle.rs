//! Quota that is free but not the user's to use: what clawbacks wait for, and what belongs to grants that are over.

use ids::TaskId;
use sqlx::PgConnection;

use crate::domain::{self, Balance, Settlement};
use crate::error::Error;
use crate::store::grant::{Shift, Unsettled};
use crate::{events, store};

/// Grants settled with one look.
const AT_ONCE: i64 = 100;

/// What brought the quota back.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cause<'a> {
    pub(super) task_id: Option<TaskId>,
    pub(super) clawback_id: Option<&'a str>,
}

/// Settles all grants of a user that are over. The account must be locked.
pub(super) async fn due(conn: &mut PgConnection, balance: &mut Balance) -> Result<(), Error> {
    loop {
        let due = store::grant::due(conn, balance.user_id, AT_ONCE).await?;
        if due.is_empty() {
            return Ok(());
        }
        for grant in due {
            one(conn, balance, grant, Cause::default()).await?;
        }
    }
}

/// Settles the grants that a reservation has given quota back to. The account must be locked; `balance` is brought up
/// to date if anything moves.
pub(super) async fn after_task(
    conn: &mut PgConnection,
    balance: &mut Balance,
    task_id: TaskId,
) -> Result<(), Error> {
    let cause = Cause {
        task_id: Some(task_id),
        ..Cause::default()
    };
    for grant in store::grant::unsettled_of_task(conn, task_id).await? {
        one(conn, balance, grant, cause).await?;
    }
    Ok(())
}

/// Settles one grant.
pub(super) async fn one(
    conn: &mut PgConnection,
    balance: &mut Balance,
    grant: Unsettled,
    cause: Cause<'_>,
) -> Result<(), Error> {
    let owed = if grant.owed {
        store::clawback::owed(conn, &grant.grant_id).await?
    } else {
        Vec::new()
    };
    for settlement in domain::settle(grant.free, owed, grant.ended) {
        match settlement {
            Settlement::ClawedBack { clawback_id, amount } => {
                take(
                    conn,
                    balance,
                    &grant.grant_id,
                    &clawback_id,
                    amount,
                    cause.task_id,
                )
                .await?;
            }
            Settlement::Expired { amount } => expire(conn, balance, &grant.grant_id, amount, cause).await?,
        }
    }
    Ok(())
}

/// Gives free quota of a grant to a clawback that wants it.
pub(super) async fn take(
    conn: &mut PgConnection,
    balance: &mut Balance,
    grant_id: &str,
    clawback_id: &str,
    amount: i64,
    task_id: Option<TaskId>,
) -> Result<(), Error> {
    let event = events::of_grant(
        "quota.clawed_back",
        balance.user_id,
        grant_id,
        Some(clawback_id),
        amount,
        balance.available.saturating_sub(amount),
    );
    let shift = Shift {
        kind: "clawed_back",
        grant_id,
        task_id,
        clawback_id: Some(clawback_id),
        expired: 0,
        clawed_back: amount,
    };
    store::clawback::take(conn, clawback_id, grant_id, amount).await?;
    *balance = store::grant::shift(conn, &shift, &event).await?;
    Ok(())
}

async fn expire(
    conn: &mut PgConnection,
    balance: &mut Balance,
    grant_id: &str,
    amount: i64,
    cause: Cause<'_>,
) -> Result<(), Error> {
    let event = events::of_grant(
        "quota.expired",
        balance.user_id,
        grant_id,
        None,
        amount,
        balance.available.saturating_sub(amount),
    );
    let shift = Shift {
        kind: "grant_expired",
        grant_id,
        task_id: cause.task_id,
        clawback_id: cause.clawback_id,
        expired: amount,
        clawed_back: 0,
    };
    *balance = store::grant::shift(conn, &shift, &event).await?;
    Ok(())
}
