use ids::TaskId;
use process::PoolGauge;

use crate::domain::{self, Hold, Reservation};
use crate::error::Error;
use crate::store;

/// Lets a live reservation stand for `hold` from now, or as long as it does anyway.
pub(crate) async fn extend(pool: &PoolGauge, task_id: TaskId, hold: Hold) -> Result<Reservation, Error> {
    if let Some(reservation) = store::reservation::extend(pool, task_id, hold).await? {
        return Ok(reservation);
    }
    Err(domain::extend_again(
        store::reservation::find(pool, task_id).await?,
    ))
}
