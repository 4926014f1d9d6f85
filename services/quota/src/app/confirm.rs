use ids::TaskId;
use sqlx::PgConnection;

use crate::domain::{self, Reservation};
use crate::error::Error;
use crate::{events, store};

/// Turns a reservation into consumption.
pub(crate) async fn confirm(conn: &mut PgConnection, task_id: TaskId) -> Result<Reservation, Error> {
    // The reserve may be committed between the two looks; the second round finds it, since no row is ever deleted.
    for _ in 0..2 {
        if let Some((account, amount)) = store::account::lock_by_task(conn, task_id).await? {
            let event = events::of_task(
                "quota.confirmed",
                account.user_id,
                task_id,
                amount,
                account.available,
            );
            if let Some(reservation) = store::reservation::confirm(conn, task_id, &event).await? {
                return Ok(reservation);
            }
        }
        let slot = store::reservation::find(&mut *conn, task_id).await?;
        if let Some(reservation) = domain::confirm_again(slot)? {
            return Ok(reservation);
        }
    }
    Err(Error::Broken("a reserved reservation was not confirmed"))
}
