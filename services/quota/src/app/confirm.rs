use ids::TaskId;
use sqlx::PgConnection;

use crate::domain::{self, Reservation};
use crate::error::Error;
use crate::{events, store};

/// Turns a reservation into consumption.
pub(crate) async fn confirm(conn: &mut PgConnection, task_id: TaskId) -> Result<Reservation, Error> {
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
    domain::confirm_again(store::reservation::find(conn, task_id).await?)
}
