//! What the journal says of what happened.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::PgPool;
use sqlx::types::Uuid;

/// Seconds since 1970: the clock of the journal's events, which all processes here share.
pub(crate) fn now() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("it is later than 1970").as_secs_f64()
}

/// Sagas that a replica drives.
pub(crate) async fn unfinished(db: &PgPool, owner: &str) -> Vec<Uuid> {
    sqlx::query_scalar(
        "select id from saga.instance where owner = $1 and phase in ('RUNNING', 'COMPENSATING')",
    )
    .bind(owner)
    .fetch_all(db)
    .await
    .expect("the database answers")
}

/// How many sagas have not ended. Does not wait for a database that is away.
pub(crate) async fn under_way(db: &PgPool) -> Result<i64, String> {
    let count =
        sqlx::query_scalar("select count(*) from saga.instance where phase in ('RUNNING', 'COMPENSATING')");
    match tokio::time::timeout(Duration::from_secs(1), count.fetch_one(db)).await {
        Ok(count) => count.map_err(|error| error.to_string()),
        Err(elapsed) => Err(elapsed.to_string()),
    }
}

/// How long a saga was silent around an instant.
#[derive(Debug)]
pub(crate) struct Gap {
    pub(crate) saga: Uuid,
    pub(crate) before: Duration,
    pub(crate) after: Duration,
    /// The last event before began to unwind it while a call was in flight. Whoever takes it over waits for that call, too, up
    /// to the timeout of its step: the participant may still be at it.
    pub(crate) drains: bool,
}

impl Gap {
    pub(crate) fn whole(&self) -> Duration {
        self.before + self.after
    }
}

/// For each of these sagas the time from the last thing that was recorded before an instant to the first one after it.
/// A start and an end are things that happen, too.
pub(crate) async fn gaps(db: &PgPool, sagas: &[Uuid], around: f64) -> Vec<Gap> {
    let silent: Vec<(Uuid, f64, f64, bool)> = sqlx::query_as(
        "with happened as (
            select saga_id as id, at from saga.event where saga_id = any ($1)
            union all select id, created_at from saga.instance where id = any ($1)
            union all select id, ended_at from saga.instance where id = any ($1) and ended_at is not null
         )
         select id,
            $2 - extract(epoch from max(at) filter (where at <= to_timestamp($2)))::float8,
            extract(epoch from min(at) filter (where at > to_timestamp($2)))::float8 - $2,
            coalesce((
                select kind = 'unwinding' and in_flight is not null
                from saga.event
                where saga_id = id and at <= to_timestamp($2)
                order by seq desc
                limit 1
            ), false)
         from happened
         group by id
         having max(at) > to_timestamp($2)",
    )
    .bind(sagas)
    .bind(around)
    .fetch_all(db)
    .await
    .expect("the database answers");
    let gap = |(saga, before, after, drains): (Uuid, f64, f64, bool)| Gap {
        saga,
        before: Duration::from_secs_f64(before.max(0.0)),
        after: Duration::from_secs_f64(after),
        drains,
    };
    silent.into_iter().map(gap).collect()
}

/// What was recorded of a saga, a line for each event.
pub(crate) async fn story(db: &PgPool, saga: Uuid) -> String {
    let events: Vec<String> = sqlx::query_scalar(
        "select to_char(at, 'HH24:MI:SS.MS ') || concat_ws(' ', kind, step, op, idx, reason, in_flight)
         from saga.event
         where saga_id = $1
         order by seq",
    )
    .bind(saga)
    .fetch_all(db)
    .await
    .expect("the database answers");
    format!("{saga}\n{}", events.join("\n"))
}

/// Whether something was recorded of each of these sagas after an instant; if not, of which nothing was.
pub(crate) async fn all_went_on(db: &PgPool, sagas: &[Uuid], instant: f64) -> Result<(), Vec<Uuid>> {
    let silent: Vec<Uuid> = sqlx::query_scalar(
        "select id from saga.instance i
         where id = any ($1) and ended_at is null
            and not exists (select 1 from saga.event where saga_id = i.id and at > to_timestamp($2))",
    )
    .bind(sagas)
    .bind(instant)
    .fetch_all(db)
    .await
    .expect("the database answers");
    if silent.is_empty() { Ok(()) } else { Err(silent) }
}

/// When a step first succeeded after an instant: any, or one of these (positions from 0). The database may be away.
pub(crate) async fn first_success(db: &PgPool, after: f64, steps: &[i16]) -> Option<f64> {
    let first = sqlx::query_scalar(
        "select extract(epoch from min(at))::float8 from saga.event
         where at > to_timestamp($1) and kind = 'succeeded' and (cardinality($2) = 0 or step = any ($2))",
    );
    let first = first.bind(after).bind(steps).fetch_one(db);
    tokio::time::timeout(Duration::from_secs(1), first)
        .await
        .ok()?
        .ok()?
}

/// Whether an instance has started a saga after an instant.
pub(crate) async fn has_started(db: &PgPool, owner: &str, after: f64) -> bool {
    sqlx::query_scalar(
        "select exists (select 1 from saga.instance where owner = $1 and created_at > to_timestamp($2))",
    )
    .bind(owner)
    .bind(after)
    .fetch_one(db)
    .await
    .expect("the database answers")
}

/// The epoch of an instance.
pub(crate) async fn epoch(db: &PgPool, instance: &str) -> i64 {
    sqlx::query_scalar("select epoch from saga.replica where id = $1")
        .bind(instance)
        .fetch_one(db)
        .await
        .expect("the database answers")
}

/// What was recorded twice, by whichever owner, and sagas whose events have gaps.
pub(crate) async fn doubled(db: &PgPool) -> Vec<String> {
    sqlx::query_scalar(
        "select concat_ws(' ', saga_id, kind, step, idx, op)
         from saga.event
         where kind in ('succeeded', 'refused', 'abandoned', 'committed', 'unwinding')
         group by saga_id, kind, step, idx, op
         having count(*) > 1
         union all
         select saga_id || ' has gaps' from saga.event group by saga_id having count(*) <> max(seq) + 1",
    )
    .fetch_all(db)
    .await
    .expect("the database answers")
}
