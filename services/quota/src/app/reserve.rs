use sqlx::PgConnection;

use crate::domain::{self, Reservation, Reserve};
use crate::error::Error;
use crate::{SCHEMA, events, store};

/// What a reserve came to.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) reservation: Reservation,
    /// What the user has left.
    pub(crate) available: i64,
}

/// Sets quota aside for a task, once per task id. Tells when that leaves less than `low_below`.
pub(crate) async fn reserve(
    conn: &mut PgConnection,
    wanted: &Reserve,
    low_below: i64,
) -> Result<Reserved, Error> {
    let account = store::account::lock(conn, wanted.user_id).await?;
    let available = account.map_or(0, |account| account.available);
    if let Some(left) = available
        .checked_sub(wanted.amount.get())
        .filter(|left| *left >= 0)
    {
        let event = events::of_task(
            "quota.reserved",
            wanted.user_id,
            wanted.task_id,
            wanted.amount.get(),
            left,
        );
        if let Some(reservation) = store::reservation::reserve(conn, wanted, &event).await? {
            if left < low_below && low_below <= available {
                let event = events::low(wanted.user_id, left, low_below);
                ::events::outbox::insert(conn, SCHEMA, &event).await?;
            }
            return Ok(Reserved {
                reservation,
                available: left,
            });
        }
    }
    // Only now, because it is needed for repeated calls only: is the task known?
    let slot = store::reservation::find(conn, wanted.task_id).await?;
    match domain::reserve_again(slot, wanted)? {
        Some(reservation) => Ok(Reserved {
            reservation,
            available,
        }),
        None => Err(Error::Insufficient {
            wanted: wanted.amount.get(),
            available,
        }),
    }
}
