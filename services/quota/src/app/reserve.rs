use sqlx::PgConnection;

use crate::config::Config;
use crate::domain::{self, Hold, Reservation, Reserve};
use crate::error::Error;
use crate::{events, store};

use super::{settle, tell_low};

/// What a reserve came to.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) reservation: Reservation,
    /// What the user has left.
    pub(crate) available: i64,
}

/// Sets quota aside for a task, once per task id, from what is not over. Tells when that leaves less than
/// [`Config::low_below`].
pub(crate) async fn reserve(
    conn: &mut PgConnection,
    wanted: &Reserve,
    config: &Config,
) -> Result<Reserved, Error> {
    let mut available = 0;
    if let Some((mut balance, due)) = store::account::lock(conn, wanted.user_id).await? {
        let before = balance.available;
        if due {
            settle::due(conn, &mut balance).await?;
        }
        available = balance.available;
        balance.available -= wanted.amount.get();
        if balance.available >= 0
            && let Some(reservation) = set_aside(conn, wanted, balance.available, config).await?
        {
            tell_low(conn, before, &balance, config.low_below).await?;
            return Ok(Reserved {
                reservation,
                available: balance.available,
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

async fn set_aside(
    conn: &mut PgConnection,
    wanted: &Reserve,
    left: i64,
    config: &Config,
) -> Result<Option<Reservation>, Error> {
    let event = events::of_task(
        "quota.reserved",
        wanted.user_id,
        wanted.task_id,
        wanted.amount.get(),
        left,
    );
    let hold = wanted.hold.map_or(config.reservation_hold, Hold::get);
    store::reservation::reserve(conn, wanted, hold, &event).await
}
