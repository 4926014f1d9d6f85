use ids::TaskId;
use sqlx::PgConnection;

use crate::domain::{self, Reservation};
use crate::error::Error;
use crate::{events, store};

/// Gives a reservation back, once. Before any reserve it takes the task id instead, and returns nothing.
pub(crate) async fn cancel(conn: &mut PgConnection, task_id: TaskId) -> Result<Option<Reservation>, Error> {
    let mut locked = store::account::lock_by_task(conn, task_id).await?;
    if locked.is_none() {
        if store::reservation::mark_cancelled(conn, task_id).await? {
            return Ok(None);
        }
        // The task id was taken before, or meanwhile: whoever took it has committed.
        locked = store::account::lock_by_task(conn, task_id).await?;
    }
    if let Some((account, amount)) = locked {
        let event = events::of_task(
            "quota.released",
            account.user_id,
            task_id,
            amount,
            account.available.saturating_add(amount),
        );
        if let Some(reservation) = store::reservation::cancel(conn, task_id, &event).await? {
            return Ok(Some(reservation));
        }
    }
    domain::cancel_again(store::reservation::find(conn, task_id).await?)
}
