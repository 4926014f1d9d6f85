//! Taking back what is left of what an order has added.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use ids::{OrderId, RefundId, UserId};
use sqlx::PgConnection;

use crate::error::Error;
use crate::store::revocations;

/// Takes back what is left, at `at`, of the membership that an order has opened or extended. What other orders have added
/// afterwards moves forward, so that its buyer loses none of it. Does nothing where nothing stands any more.
///
/// The order is to be locked before; locks the user's memberships in the order of their tiers.
pub(crate) async fn revoke(
    conn: &mut PgConnection,
    user_id: UserId,
    order_id: OrderId,
    refund_id: RefundId,
    at: DateTime<Utc>,
) -> Result<(), Error> {
    // The database keeps microseconds: the period and the membership are to end at the same one.
    let at = at.trunc_subsecs(6);
    for tier in revocations::tiers(&mut *conn, order_id).await? {
        let Some(before) = revocations::lock_membership(conn, user_id, &tier).await? else {
            return Err(Error::Broken("a period has no membership"));
        };
        let Some(was) = revocations::revoke(conn, order_id, &tier, refund_id, at).await? else {
            continue;
        };
        let left = (was.ends_at - at.max(was.starts_at)).max(TimeDelta::zero());
        let micros = left
            .num_microseconds()
            .ok_or(Error::Broken("a period is longer than time"))?;
        if micros > 0 {
            revocations::close_gap(conn, (user_id, &tier), was.ends_at, micros).await?;
        }
        revocations::record(
            conn,
            (user_id, &tier),
            (order_id, refund_id),
            (before, before - left),
        )
        .await?;
    }
    Ok(())
}
