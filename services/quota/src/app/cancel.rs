use ids::TaskId;
use sqlx::PgConnection;

use crate::domain::{self, CancelAgain, Reservation};
use crate::error::Error;
use crate::{events, store};

/// Gives a reservation back, once. Before any reserve it takes the task id instead, and returns nothing.
pub(crate) async fn cancel(conn: &mut PgConnection, task_id: TaskId) -> Result<Option<Reservation>, Error> {
    if let Some(reservation) = give_back(conn, task_id).await? {
        return Ok(Some(reservation));
    }
    match domain::cancel_again(store::reservation::find(&mut *conn, task_id).await?)? {
        CancelAgain::Done(reservation) => return Ok(reservation),
        CancelAgain::Mark => {}
    }
    if store::reservation::mark_cancelled(conn, task_id).await? {
        return Ok(None);
    }
    // Somebody took the task id meanwhile, and has committed. No row is ever deleted, so this is the last look.
    if let Some(reservation) = give_back(conn, task_id).await? {
        return Ok(Some(reservation));
    }
    match domain::cancel_again(store::reservation::find(conn, task_id).await?)? {
        CancelAgain::Done(reservation) => Ok(reservation),
        CancelAgain::Mark => Err(Error::Broken("a task id is taken by nothing")),
    }
}

/// Locks the account of the task, and gives its reservation back if it is in phase `reserved`.
async fn give_back(conn: &mut PgConnection, task_id: TaskId) -> Result<Option<Reservation>, Error> {
    let Some((account, amount)) = store::account::lock_by_task(conn, task_id).await? else {
        return Ok(None);
    };
    let event = events::of_task(
        "quota.released",
        account.user_id,
        task_id,
        amount,
        account.available.saturating_add(amount),
    );
    Ok(store::reservation::cancel(conn, task_id, &event).await?)
}
