use ids::TaskId;
use sqlx::PgConnection;

use crate::domain::{self, Phase, Reservation, Slot};
use crate::error::Error;
use crate::store;
use crate::store::reservation::Back;

use super::expire::give_back;

/// Gives a reservation back, once. Before any reserve it takes the task id instead, and returns nothing. One that has run
/// out is given back as expired.
pub(crate) async fn cancel(conn: &mut PgConnection, task_id: TaskId) -> Result<Option<Reservation>, Error> {
    let mut locked = store::account::lock_by_task(conn, task_id).await?;
    if locked.is_none() {
        if store::reservation::mark_cancelled(conn, task_id).await? {
            return Ok(None);
        }
        // The task id was taken before, or meanwhile: whoever took it has committed.
        locked = store::account::lock_by_task(conn, task_id).await?;
    }
    let slot = store::reservation::find(&mut *conn, task_id).await?;
    if let (Some((balance, amount)), Slot::Held(held)) = (locked, &slot)
        && held.open
    {
        let why = if held.phase == Phase::Expired {
            Back::Expired
        } else {
            Back::Cancelled
        };
        if let Some(reservation) = give_back(conn, balance, task_id, amount, why).await? {
            return Ok(Some(reservation));
        }
    }
    domain::cancel_again(slot)
}
