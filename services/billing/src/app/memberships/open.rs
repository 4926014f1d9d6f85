//! Opening and extending memberships.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use crate::error::Error;
use crate::store::memberships::{self, NewPeriod};
use crate::store::order_lines::{Line, MEMBERSHIP};
use crate::store::orders::Order;

/// Opens or extends the memberships that an order grants, at `at`. What the order has added before is not added again.
///
/// Locks the membership after the order.
pub(crate) async fn open(
    conn: &mut PgConnection,
    order: &Order,
    lines: &[Line],
    at: DateTime<Utc>,
) -> Result<(), Error> {
    for line in lines.iter().filter(|line| line.kind == MEMBERSHIP) {
        let tier = line
            .tier
            .as_deref()
            .ok_or(Error::Broken("a membership has no tier"))?;
        let days = i32::try_from(line.quantity).map_err(|_| Error::Broken("a membership is too long"))?;
        add(conn, order, tier, days, at).await?;
    }
    Ok(())
}

async fn add(
    conn: &mut PgConnection,
    order: &Order,
    tier: &str,
    days: i32,
    at: DateTime<Utc>,
) -> Result<(), Error> {
    let (starts_at, ends_at, is_new) = memberships::make_or_lock(conn, order.user_id, tier, at).await?;
    let is_active = !is_new && ends_at > at;
    // Periods follow each other: what is bought twice lasts twice as long.
    let begin = if is_active { ends_at } else { at };
    let end = begin
        .checked_add_signed(TimeDelta::days(days.into()))
        .ok_or(Error::Broken("a membership ends beyond all times"))?;
    let period = NewPeriod {
        order_id: order.id,
        user_id: order.user_id,
        tier,
        days,
        starts_at: begin,
        ends_at: end,
    };
    if !memberships::insert_period(conn, &period).await? {
        return Ok(());
    }
    let (starts_at, kind) = if is_active {
        (starts_at, "extended")
    } else {
        (at, "opened")
    };
    let before = (!is_new).then_some(ends_at);
    memberships::extend(conn, &period, starts_at, kind, before).await?;
    Ok(())
}
