//! All SQL about claims. A claim is only changed under the lock of its operation's row in `barrier`, or by its fence.

use std::time::Duration;

use rpc::step::Op;
use sqlx::{PgConnection, PgPool, Row as _};

use crate::external::decide::{Claim, Undoing};
use crate::rows::Key;

/// Longest claim, and longest grace.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The latest claim of an operation, as the database's clock sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    pub(super) claim: Claim,
    /// Its number; 0 if there is none.
    pub(super) fence: i64,
    /// Until its state changes by itself; zero if it does not.
    pub(super) rest: Duration,
}

impl Seen {
    pub(super) const NONE: Self = Self {
        claim: Claim::None,
        fence: 0,
        rest: Duration::ZERO,
    };
}

/// Reads the latest claim of an operation, whose row is locked.
pub(super) async fn read(conn: &mut PgConnection, key: Key<'_>, op: Op) -> Result<Seen, sqlx::Error> {
    let row = sqlx::query(
        "select fence, \
             ceil(extract(epoch from valid_until - now.at) * 1000)::bigint as valid_ms, \
             ceil(extract(epoch from quiet_at - now.at) * 1000)::bigint as quiet_ms \
         from barrier_claim, (select clock_timestamp() as at offset 0) as now \
         where saga_id = $1 and step = $2 and idx = $3 and op = $4",
    )
    .bind(key.saga_id.uuid())
    .bind(key.step)
    .bind(key.index)
    .bind(op.name())
    .fetch_optional(conn)
    .await?;
    let Some(row) = row else { return Ok(Seen::NONE) };
    let (valid_ms, quiet_ms): (i64, i64) = (row.try_get("valid_ms")?, row.try_get("quiet_ms")?);
    let (claim, rest_ms) = if valid_ms > 0 {
        (Claim::Live, valid_ms)
    } else if quiet_ms > 0 {
        (Claim::Ended, quiet_ms)
    } else {
        (Claim::Quiet, 0)
    };
    Ok(Seen {
        claim,
        fence: row.try_get("fence")?,
        rest: Duration::from_millis(rest_ms.unsigned_abs()),
    })
}

/// Takes the claim that follows the one with the number `after` (0: none); `None` if it is not the latest any more, or
/// not quiet. The operation's row is locked.
pub(super) async fn take(
    conn: &mut PgConnection,
    key: Key<'_>,
    op: Op,
    after: i64,
    valid: Duration,
    grace: Duration,
) -> Result<Option<i64>, sqlx::Error> {
    sqlx::query_scalar(
        "insert into barrier_claim as latest (saga_id, step, idx, op, fence, valid_until, quiet_at) \
         select $1, $2, $3, $4, $5 + 1, now.at + $6 * interval '1 ms', now.at + ($6 + $7) * interval '1 ms' \
         from (select clock_timestamp() as at offset 0) as now \
         on conflict (saga_id, step, idx, op) do update \
         set fence = excluded.fence, valid_until = excluded.valid_until, quiet_at = excluded.quiet_at, \
             claimed_at = clock_timestamp() \
         where latest.fence = $5 and latest.quiet_at <= clock_timestamp() \
         returning fence",
    )
    .bind(key.saga_id.uuid())
    .bind(key.step)
    .bind(key.index)
    .bind(op.name())
    .bind(after)
    .bind(millis(valid))
    .bind(millis(grace))
    .fetch_optional(conn)
    .await
}

/// Returns for how long calls may still start under a claim; `None` if it has run out, is not the latest, or its
/// operation is not pending any more.
pub(super) async fn rest(
    pool: &PgPool,
    key: Key<'_>,
    op: Op,
    fence: i64,
) -> Result<Option<Duration>, sqlx::Error> {
    let rest_ms: Option<i64> = sqlx::query_scalar(
        "select floor(extract(epoch from c.valid_until - clock_timestamp()) * 1000)::bigint \
         from barrier_claim c join barrier b using (saga_id, step, idx, op) \
         where c.saga_id = $1 and c.step = $2 and c.idx = $3 and c.op = $4 and c.fence = $5 \
           and b.state = 'pending'",
    )
    .bind(key.saga_id.uuid())
    .bind(key.step)
    .bind(key.index)
    .bind(op.name())
    .bind(fence)
    .fetch_optional(pool)
    .await?;
    let rest_ms = rest_ms.and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0);
    Ok(rest_ms.map(Duration::from_millis))
}

/// Ends a claim whose call has ended, so that nobody waits for the rest of it.
pub(super) async fn end(
    pool: &PgPool,
    key: Key<'_>,
    op: Op,
    fence: i64,
    grace: Duration,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update barrier_claim set valid_until = now.at, quiet_at = now.at + $6 * interval '1 ms' \
         from (select clock_timestamp() as at offset 0) as now \
         where saga_id = $1 and step = $2 and idx = $3 and op = $4 and fence = $5 and valid_until > now.at",
    )
    .bind(key.saga_id.uuid())
    .bind(key.step)
    .bind(key.index)
    .bind(op.name())
    .bind(fence)
    .bind(millis(grace))
    .execute(pool)
    .await?;
    Ok(())
}

/// Remembers (or, with `None`, forgets) a success of the action that the saga has given up.
pub(super) async fn set_late(
    conn: &mut PgConnection,
    key: Key<'_>,
    reply: Option<&[u8]>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update barrier_claim set late_reply = $4 \
         where saga_id = $1 and step = $2 and idx = $3 and op = 'action' and late_reply is distinct from $4",
    )
    .bind(key.saga_id.uuid())
    .bind(key.step)
    .bind(key.index)
    .bind(reply)
    .execute(conn)
    .await?;
    Ok(())
}

/// Returns the success of the action that the saga has given up and nobody has undone.
pub(super) async fn late(conn: &mut PgConnection, key: Key<'_>) -> Result<Option<Vec<u8>>, sqlx::Error> {
    let late = sqlx::query_scalar(
        "select late_reply from barrier_claim \
         where saga_id = $1 and step = $2 and idx = $3 and op = 'action'",
    )
    .bind(key.saga_id.uuid())
    .bind(key.step)
    .bind(key.index)
    .fetch_optional(conn)
    .await?;
    Ok(late.flatten())
}

/// Tells how far the compensation has come. The action's row is locked, under which alone that changes.
pub(super) async fn undoing(conn: &mut PgConnection, key: Key<'_>) -> Result<Undoing, sqlx::Error> {
    let called: Option<bool> = sqlx::query_scalar(
        "select exists ( \
             select from barrier_claim c \
             where c.saga_id = b.saga_id and c.step = b.step and c.idx = b.idx and c.op = b.op \
         ) \
         from barrier b \
         where saga_id = $1 and step = $2 and idx = $3 and op = 'compensation' and state = 'succeeded'",
    )
    .bind(key.saga_id.uuid())
    .bind(key.step)
    .bind(key.index)
    .fetch_optional(conn)
    .await?;
    Ok(match called {
        None => Undoing::Open,
        Some(true) => Undoing::Undone,
        Some(false) => Undoing::Settled,
    })
}

/// Whole milliseconds, at most a day of them: a larger interval could leave the range of timestamps.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.min(LONGEST).as_millis()).unwrap_or(i64::MAX)
}
