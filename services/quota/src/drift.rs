//! The product's promise, evaluated on the live rows.

use ids::UserId;
use sqlx::{PgPool, Row as _};
use uuid::Uuid;

/// Two figures that should be equal and are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// Whose account.
    pub user_id: UserId,
    /// Which figure, against which source.
    pub what: String,
    /// What the source says.
    pub expected: i64,
    /// What is stored.
    pub found: i64,
}

/// Compares every account with its ledger, its reservations and its grants, every grant and every reservation with
/// the parts taken, and every reservation with its ledger. Returns what differs; an empty list is the promise kept.
///
/// Reads all rows in one snapshot, without locks: it is right at any moment, and slow on a large database.
///
/// # Errors
/// If the database does not answer.
pub async fn drift(pool: &PgPool) -> Result<Vec<Drift>, sqlx::Error> {
    let rows = sqlx::query(DRIFT).fetch_all(pool).await?;
    rows.iter()
        .map(|row| {
            Ok(Drift {
                user_id: UserId::from_uuid(row.try_get::<Uuid, _>("user_id")?),
                what: row.try_get("what")?,
                expected: row.try_get("expected")?,
                found: row.try_get("found")?,
            })
        })
        .collect()
}

const DRIFT: &str = "
with ledger_sum as (
    select user_id, sum(granted_delta) as granted, sum(available_delta) as available,
        sum(reserved_delta) as reserved, sum(consumed_delta) as consumed
    from ledger group by user_id
), grant_sum as (
    select user_id, sum(amount) as granted, sum(remaining) as available from quota_grant group by user_id
), task_sum as (
    select user_id, sum(amount) filter (where phase = 'reserved') as reserved,
        sum(amount) filter (where phase = 'confirmed') as consumed
    from quota_transactions where user_id is not null group by user_id
), subject as (
    select user_id from account union select user_id from ledger union select user_id from quota_grant
    union select user_id from quota_transactions where user_id is not null
), taken as (
    select p.grant_id, sum(p.amount) as amount
    from reservation_part p join quota_transactions t on t.task_id = p.task_id
    where t.phase in ('reserved', 'confirmed') group by p.grant_id
), part_sum as (
    select task_id, sum(amount) as amount from reservation_part group by task_id
), task_ledger as (
    select task_id, sum(reserved_delta) as reserved, sum(consumed_delta) as consumed
    from ledger where task_id is not null group by task_id
), figure as (
    select s.user_id, v.what, v.expected, v.found
    from subject s
    left join account a on a.user_id = s.user_id
    left join ledger_sum l on l.user_id = s.user_id
    left join grant_sum g on g.user_id = s.user_id
    left join task_sum t on t.user_id = s.user_id
    cross join lateral (values
        ('granted against the ledger', l.granted, a.granted),
        ('available against the ledger', l.available, a.available),
        ('reserved against the ledger', l.reserved, a.reserved),
        ('consumed against the ledger', l.consumed, a.consumed),
        ('granted against the grants', g.granted, a.granted),
        ('available against the grants', g.available, a.available),
        ('reserved against the reservations', t.reserved, a.reserved),
        ('consumed against the reservations', t.consumed, a.consumed)
    ) as v (what, expected, found)
    union all
    select g.user_id, 'taken from grant ' || g.grant_id, t.amount, g.amount - g.remaining
    from quota_grant g left join taken t on t.grant_id = g.grant_id
    union all
    select t.user_id, v.what || t.task_id, v.expected, v.found
    from quota_transactions t
    left join part_sum p on p.task_id = t.task_id
    left join task_ledger l on l.task_id = t.task_id
    cross join lateral (values
        ('parts of task ', t.amount, p.amount),
        ('ledger of reserved task ', case when t.phase = 'reserved' then t.amount else 0 end, l.reserved),
        ('ledger of confirmed task ', case when t.phase = 'confirmed' then t.amount else 0 end, l.consumed)
    ) as v (what, expected, found)
    where t.user_id is not null
)
select user_id, what, coalesce(expected, 0)::bigint as expected, coalesce(found, 0)::bigint as found
from figure where coalesce(expected, 0) <> coalesce(found, 0) order by user_id, what";
