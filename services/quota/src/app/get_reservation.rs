use ids::TaskId;
use process::PoolGauge;

use crate::domain::{Reservation, Slot};
use crate::error::Error;
use crate::store;

/// Returns the reservation of a task. The mark of a cancel that came before any reserve is none.
pub(crate) async fn get_reservation(pool: &PoolGauge, task_id: TaskId) -> Result<Reservation, Error> {
    match store::reservation::find(pool, task_id).await? {
        Slot::Held(reservation) => Ok(reservation),
        Slot::Free | Slot::Marked => Err(Error::NotFound),
    }
}
