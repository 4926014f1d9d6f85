use ids::TaskId;
use sqlx::PgConnection;

use crate::domain::{self, Amount, Reservation};
use crate::error::Error;
use crate::{events, store};

use super::settle;

/// A reservation that is confirmed.
#[derive(Debug)]
pub(crate) struct Confirmed(pub(crate) Reservation);

impl Confirmed {
    /// Returns what was consumed.
    pub(crate) const fn consumed(&self) -> i64 {
        self.0.amount - self.0.released
    }
}

/// Turns a live reservation into consumption: `amount` of it, or everything. The rest is given back.
pub(crate) async fn confirm(
    conn: &mut PgConnection,
    task_id: TaskId,
    amount: Option<Amount>,
) -> Result<Confirmed, Error> {
    // The reserve may be committed between the two looks; the second round finds it, since no row is ever deleted.
    for _ in 0..2 {
        if let Some((mut balance, reserved)) = store::account::lock_by_task(conn, task_id).await? {
            let consumed = amount.map_or(reserved, Amount::get);
            let rest = reserved - consumed;
            let user_id = balance.user_id;
            let event =
                |topic, amount, available| events::of_task(topic, user_id, task_id, amount, available);
            let confirmed = event("quota.confirmed", consumed, balance.available);
            if rest >= 0
                && let Some(reservation) =
                    store::reservation::confirm(conn, task_id, consumed, &confirmed).await?
            {
                if rest > 0 {
                    balance.available += rest;
                    let released = event("quota.released", rest, balance.available);
                    store::reservation::return_rest(conn, task_id, rest, &released).await?;
                    settle::after_task(conn, &mut balance, task_id).await?;
                }
                return Ok(Confirmed(reservation));
            }
        }
        let slot = store::reservation::find(&mut *conn, task_id).await?;
        if let Some(reservation) = domain::confirm_again(slot, amount)? {
            return Ok(Confirmed(reservation));
        }
    }
    Err(Error::Broken("a reserved reservation was not confirmed"))
}
