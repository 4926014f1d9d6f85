use events::Event;
use ids::{EntryId, TaskId, UserId};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, PgExecutor, Row as _};

use crate::domain::{Balance, ChosenId, Grant, GrantKind, StoredGrant};

use super::account::balance;

/// Columns that [`stored`] reads.
pub(super) const COLUMNS: &str = "g.seq, g.grant_id, g.user_id, g.kind, g.amount, g.remaining, g.expired, g.revoked, \
     g.clawed_back, g.priority, g.source_type, g.source_id, g.source_line, g.source as note, g.expires_at, g.created_at";

/// Order in which grants are burnt; those without an expiry are the last of their priority.
pub(super) const ORDER: &str = "g.priority, g.expires_at, g.created_at, g.grant_id";

/// Creates a grant with its movement, ledger entry and event, unless its id or its source is taken. Returns the balance
/// afterwards.
pub(crate) async fn create(
    conn: &mut PgConnection,
    grant: &Grant,
    event: &Event,
) -> Result<Option<Balance>, sqlx::Error> {
    let line = grant.line.as_ref();
    let row = sqlx::query(
        "with given as ( \
             insert into quota_grant (grant_id, user_id, amount, remaining, priority, source, kind, expires_at, \
                 source_type, source_id, source_line) \
             values ($1, $2, $3, $3, $4, $5, $12, $13, $14, $15, $16) on conflict do nothing \
             returning user_id, grant_id, amount \
         ), moved as ( \
             update account a set granted = a.granted + g.amount, available = a.available + g.amount, \
                 updated_at = clock_timestamp() \
             from given g where a.user_id = g.user_id \
             returning a.user_id, a.granted, a.available, a.reserved, a.consumed, a.expired, a.clawed_back \
         ), entry as ( \
             insert into ledger (entry_id, user_id, kind, granted_delta, available_delta, reserved_delta, \
                 consumed_delta, grant_id) \
             select $6, user_id, 'granted', amount, amount, 0, 0, grant_id from given \
         ), sent as ( \
             insert into outbox (id, topic, key, data, traceparent) select $7, $8, $9, $10, $11 from given \
         ) \
         select user_id, granted, available, reserved, consumed, expired, clawed_back from moved",
    )
    .bind(grant.grant_id.as_str())
    .bind(grant.user_id.uuid())
    .bind(grant.amount.get())
    .bind(grant.priority.get())
    .bind(grant.note.as_str())
    .bind(EntryId::new().uuid())
    .bind(event.id)
    .bind(&event.topic)
    .bind(&event.key)
    .bind(&event.data)
    .bind(&event.traceparent)
    .bind(grant.kind.name())
    .bind(grant.expires_at)
    .bind(line.map(|line| line.source.kind()))
    .bind(line.map(|line| line.source.id()))
    .bind(line.map(|line| line.number))
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(balance).transpose()
}

/// Returns a grant.
pub(crate) async fn find(
    conn: &mut PgConnection,
    grant_id: &ChosenId,
) -> Result<Option<StoredGrant>, sqlx::Error> {
    let sql = format!("select {COLUMNS} from quota_grant g where g.grant_id = $1");
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(grant_id.as_str())
        .fetch_optional(conn)
        .await?;
    row.as_ref().map(stored).transpose()
}

/// Returns the newest `limit` grants of a user, or those older than `before`. What is left of those that are over counts
/// as expired.
pub(crate) async fn list(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<StoredGrant>, sqlx::Error> {
    let sql = format!(
        "select {COLUMNS}, g.expires_at <= statement_timestamp() as over \
         from quota_grant g where g.user_id = $1 and g.seq < $2 order by g.seq desc limit $3"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(user_id.uuid())
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(db)
        .await?;
    rows.iter()
        .map(|row| {
            let mut grant = stored(row)?;
            if row.try_get::<Option<bool>, _>("over")?.unwrap_or_default() {
                grant.expired += std::mem::take(&mut grant.remaining);
            }
            Ok(grant)
        })
        .collect()
}

/// A grant with free quota that goes elsewhere.
#[derive(Debug)]
pub(crate) struct Unsettled {
    pub(crate) grant_id: String,
    pub(crate) free: i64,
    /// Whether clawbacks wait for it.
    pub(crate) owed: bool,
    /// Whether it is over.
    pub(crate) ended: bool,
}

/// Returns up to `limit` grants of a user that are over and still have quota.
pub(crate) async fn due(
    conn: &mut PgConnection,
    user_id: UserId,
    limit: i64,
) -> Result<Vec<Unsettled>, sqlx::Error> {
    let rows = sqlx::query(
        "select grant_id, remaining, revoked > clawed_back as owed, true as ended from quota_grant \
         where user_id = $1 and remaining > 0 and expires_at <= statement_timestamp() \
         order by expires_at, grant_id limit $2",
    )
    .bind(user_id.uuid())
    .bind(limit)
    .fetch_all(conn)
    .await?;
    rows.iter().map(unsettled_row).collect()
}

/// Returns the grants of a task's reservation that have quota which is owed, or which are over.
pub(crate) async fn unsettled_of_task(
    conn: &mut PgConnection,
    task_id: TaskId,
) -> Result<Vec<Unsettled>, sqlx::Error> {
    let rows = sqlx::query(
        "select grant_id, remaining, owed, ended from ( \
             select g.grant_id, g.remaining, g.revoked > g.clawed_back as owed, \
                 coalesce(g.expires_at <= clock_timestamp(), false) as ended \
             from reservation_part p join quota_grant g on g.grant_id = p.grant_id \
             where p.task_id = $1 and g.remaining > 0 \
         ) g where owed or ended order by grant_id",
    )
    .bind(task_id.uuid())
    .fetch_all(conn)
    .await?;
    rows.iter().map(unsettled_row).collect()
}

/// Returns a grant if it has quota that is owed, or if it is over and still has some.
pub(crate) async fn unsettled(
    conn: &mut PgConnection,
    grant_id: &str,
) -> Result<Option<Unsettled>, sqlx::Error> {
    let row = sqlx::query(
        "select grant_id, remaining, owed, ended from ( \
             select grant_id, remaining, revoked > clawed_back as owed, \
                 coalesce(expires_at <= clock_timestamp(), false) as ended \
             from quota_grant where grant_id = $1 and remaining > 0 \
         ) g where owed or ended",
    )
    .bind(grant_id)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(unsettled_row).transpose()
}

/// A movement between a grant's free quota and what it has lost.
#[derive(Debug)]
pub(crate) struct Shift<'a> {
    /// Kind of the ledger entry.
    pub(crate) kind: &'static str,
    pub(crate) grant_id: &'a str,
    /// The task whose quota came back and is shifted on.
    pub(crate) task_id: Option<TaskId>,
    pub(crate) clawback_id: Option<&'a str>,
    /// By how much these grow; what is available shrinks by both.
    pub(crate) expired: i64,
    pub(crate) clawed_back: i64,
}

/// Shifts: grant, account, ledger entry and event. Returns the balance afterwards.
pub(crate) async fn shift(
    conn: &mut PgConnection,
    shift: &Shift<'_>,
    event: &Event,
) -> Result<Balance, sqlx::Error> {
    let row = sqlx::query(
        "with shifted as ( \
             update quota_grant set remaining = remaining - $3 - $4, expired = expired + $3, \
                 clawed_back = clawed_back + $4 \
             where grant_id = $2 returning user_id, grant_id \
         ), moved as ( \
             update account a set available = a.available - $3 - $4, expired = a.expired + $3, \
                 clawed_back = a.clawed_back + $4, updated_at = clock_timestamp() \
             from shifted s where a.user_id = s.user_id \
             returning a.user_id, a.granted, a.available, a.reserved, a.consumed, a.expired, a.clawed_back \
         ), entry as ( \
             insert into ledger (entry_id, user_id, kind, granted_delta, available_delta, reserved_delta, \
                 consumed_delta, expired_delta, clawed_back_delta, grant_id, task_id, clawback_id) \
             select $1, user_id, $5, 0, -$3 - $4, 0, 0, $3, $4, grant_id, $6, $7 from shifted \
         ), sent as ( \
             insert into outbox (id, topic, key, data, traceparent) select $8, $9, $10, $11, $12 from shifted \
         ) \
         select user_id, granted, available, reserved, consumed, expired, clawed_back from moved",
    )
    .bind(EntryId::new().uuid())
    .bind(shift.grant_id)
    .bind(shift.expired)
    .bind(shift.clawed_back)
    .bind(shift.kind)
    .bind(shift.task_id.map(TaskId::uuid))
    .bind(shift.clawback_id)
    .bind(event.id)
    .bind(&event.topic)
    .bind(&event.key)
    .bind(&event.data)
    .bind(&event.traceparent)
    .fetch_one(conn)
    .await?;
    balance(&row)
}

/// Reads [`COLUMNS`].
pub(super) fn stored(row: &PgRow) -> Result<StoredGrant, sqlx::Error> {
    let kind: &str = row.try_get("kind")?;
    let source: (Option<String>, Option<String>, Option<i32>) = (
        row.try_get("source_type")?,
        row.try_get("source_id")?,
        row.try_get("source_line")?,
    );
    Ok(StoredGrant {
        seq: row.try_get("seq")?,
        grant_id: row.try_get("grant_id")?,
        user_id: UserId::from_uuid(row.try_get("user_id")?),
        kind: GrantKind::from_name(kind)
            .ok_or_else(|| sqlx::Error::Decode(format!("grant kind {kind:?}").into()))?,
        amount: row.try_get("amount")?,
        remaining: row.try_get("remaining")?,
        expired: row.try_get("expired")?,
        revoked: row.try_get("revoked")?,
        clawed_back: row.try_get("clawed_back")?,
        priority: row.try_get("priority")?,
        // A CHECK keeps the three together.
        line: match source {
            (Some(kind), Some(id), Some(line)) => Some((kind, id, line)),
            _ => None,
        },
        note: row.try_get("note")?,
        expires_at: row.try_get("expires_at")?,
        created_at: row.try_get("created_at")?,
    })
}

fn unsettled_row(row: &PgRow) -> Result<Unsettled, sqlx::Error> {
    Ok(Unsettled {
        grant_id: row.try_get("grant_id")?,
        free: row.try_get("remaining")?,
        owed: row.try_get("owed")?,
        ended: row.try_get("ended")?,
    })
}
