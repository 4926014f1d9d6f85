use ids::{TaskId, UserId};
use sqlx::PgConnection;

use crate::domain::{Balance, Reservation};
use crate::error::Error;
use crate::store::reservation::Back;
use crate::{events, store};

use super::{settle, tell_low};

/// Gives a reservation back whose time is over. Returns nothing if it was finished or extended meanwhile.
pub(crate) async fn expire_reservation(
    conn: &mut PgConnection,
    task_id: TaskId,
) -> Result<Option<Reservation>, Error> {
    match store::account::lock_by_task(conn, task_id).await? {
        Some((balance, amount)) => give_back(conn, balance, task_id, amount, Back::Expired).await,
        None => Ok(None),
    }
}

/// Takes what is left of grants that are over off the account of a user. Tells when that leaves less than `low_below`.
pub(crate) async fn expire_grants(
    conn: &mut PgConnection,
    user_id: UserId,
    low_below: i64,
) -> Result<(), Error> {
    let Some((mut balance, due)) = store::account::lock(conn, user_id).await? else {
        return Ok(());
    };
    if due {
        let before = balance.available;
        settle::due(conn, &mut balance).await?;
        tell_low(conn, before, &balance, low_below).await?;
    }
    Ok(())
}

/// Gives back what a task has set aside, and settles the grants that get it. The account must be locked.
pub(super) async fn give_back(
    conn: &mut PgConnection,
    mut balance: Balance,
    task_id: TaskId,
    amount: i64,
    why: Back,
) -> Result<Option<Reservation>, Error> {
    let topic = match why {
        Back::Cancelled => "quota.released",
        Back::Expired => "quota.expired",
    };
    balance.available = balance.available.saturating_add(amount);
    let event = events::of_task(topic, balance.user_id, task_id, amount, balance.available);
    let given = store::reservation::give_back(conn, task_id, why, &event).await?;
    if given.is_some() {
        settle::after_task(conn, &mut balance, task_id).await?;
    }
    Ok(given)
}
