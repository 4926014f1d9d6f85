use ids::UserId;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row as _};

use crate::domain::{Claim, ClawBack, Line, Owed, Part};

use super::grant::{COLUMNS, ORDER, stored};

/// A clawback as it is stored.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) user_id: UserId,
    pub(crate) source_type: String,
    pub(crate) source_id: String,
    pub(crate) amount: Option<i64>,
    pub(crate) undone: bool,
}

/// Records a clawback, unless its id is taken; tells whether it did.
pub(crate) async fn create(conn: &mut PgConnection, wanted: &ClawBack) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "insert into clawback (clawback_id, user_id, source_type, source_id, amount) values ($1, $2, $3, $4, $5) \
         on conflict on constraint clawback_pkey do nothing",
    )
    .bind(wanted.clawback_id.as_str())
    .bind(wanted.user_id.uuid())
    .bind(wanted.source.kind())
    .bind(wanted.source.id())
    .bind(wanted.amount.map(crate::domain::Amount::get))
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Returns a clawback.
pub(crate) async fn find(conn: &mut PgConnection, clawback_id: &str) -> Result<Option<Stored>, sqlx::Error> {
    let row = sqlx::query(
        "select user_id, source_type, source_id, amount, state = 'undone' as undone from clawback \
         where clawback_id = $1",
    )
    .bind(clawback_id)
    .fetch_optional(conn)
    .await?;
    row.map(|row| {
        Ok(Stored {
            user_id: UserId::from_uuid(row.try_get("user_id")?),
            source_type: row.try_get("source_type")?,
            source_id: row.try_get("source_id")?,
            amount: row.try_get("amount")?,
            undone: row.try_get("undone")?,
        })
    })
    .transpose()
}

/// Tells whether everything that a source grants was taken back.
pub(crate) async fn closes(conn: &mut PgConnection, line: &Line) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "select exists (select from clawback where source_type = $1 and source_id = $2 and amount is null \
             and state = 'done')",
    )
    .bind(line.source.kind())
    .bind(line.source.id())
    .fetch_one(conn)
    .await
}

/// Returns the grants of a source, at most 1,000, in the order in which they are burnt, with what live reservations hold.
pub(crate) async fn claims(
    conn: &mut PgConnection,
    source_type: &str,
    source_id: &str,
) -> Result<Vec<Claim>, sqlx::Error> {
    let sql = format!(
        "select {COLUMNS}, coalesce(h.held, 0)::bigint as held \
         from quota_grant g cross join lateral ( \
             select sum(p.amount) as held from quota_transactions t \
             join reservation_part p on p.task_id = t.task_id and p.grant_id = g.grant_id \
             where t.user_id = g.user_id and t.phase = 'reserved' \
         ) h where g.source_type = $1 and g.source_id = $2 order by {ORDER}"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(source_type)
        .bind(source_id)
        .fetch_all(conn)
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Claim {
                grant: stored(row)?,
                held: row.try_get("held")?,
            })
        })
        .collect()
}

/// Records what a clawback wants of a grant. It has nothing yet.
pub(crate) async fn revoke(
    conn: &mut PgConnection,
    clawback_id: &str,
    part: &Part,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "with wanted as ( \
             insert into clawback_part (clawback_id, grant_id, revoked, taken) values ($1, $2, $3, 0) \
             returning grant_id, revoked \
         ) update quota_grant g set revoked = g.revoked + w.revoked from wanted w where g.grant_id = w.grant_id",
    )
    .bind(clawback_id)
    .bind(&part.grant_id)
    .bind(part.revoked)
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that a clawback got something of a grant.
pub(crate) async fn take(
    conn: &mut PgConnection,
    clawback_id: &str,
    grant_id: &str,
    amount: i64,
) -> Result<(), sqlx::Error> {
    let done =
        sqlx::query("update clawback_part set taken = taken + $3 where clawback_id = $1 and grant_id = $2")
            .bind(clawback_id)
            .bind(grant_id)
            .bind(amount)
            .execute(conn)
            .await?;
    if done.rows_affected() == 1 {
        Ok(())
    } else {
        Err(sqlx::Error::RowNotFound)
    }
}

/// Returns what clawbacks wait for of a grant, the oldest first.
pub(crate) async fn owed(conn: &mut PgConnection, grant_id: &str) -> Result<Vec<Owed>, sqlx::Error> {
    let rows = sqlx::query(
        "select p.clawback_id, p.revoked - p.taken as amount \
         from clawback_part p join clawback c on c.clawback_id = p.clawback_id \
         where p.grant_id = $1 and p.taken < p.revoked and c.state = 'done' \
         order by c.created_at, c.clawback_id",
    )
    .bind(grant_id)
    .fetch_all(conn)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Owed {
                clawback_id: row.try_get("clawback_id")?,
                amount: row.try_get("amount")?,
            })
        })
        .collect()
}

/// Returns the parts of a clawback.
pub(crate) async fn parts(conn: &mut PgConnection, clawback_id: &str) -> Result<Vec<Part>, sqlx::Error> {
    let rows = sqlx::query(
        "select grant_id, revoked, taken from clawback_part where clawback_id = $1 order by grant_id",
    )
    .bind(clawback_id)
    .fetch_all(conn)
    .await?;
    rows.iter().map(part).collect()
}

/// Marks a clawback as undone, unless it is; tells whether it did.
pub(crate) async fn undo(conn: &mut PgConnection, clawback_id: &str) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "update clawback set state = 'undone', updated_at = clock_timestamp() \
         where clawback_id = $1 and state = 'done'",
    )
    .bind(clawback_id)
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Takes a part of a clawback that was undone off what its grant owes, after what was taken is back.
pub(crate) async fn forgive(conn: &mut PgConnection, part: &Part) -> Result<(), sqlx::Error> {
    sqlx::query("update quota_grant set revoked = revoked - $2 where grant_id = $1")
        .bind(&part.grant_id)
        .bind(part.revoked)
        .execute(conn)
        .await?;
    Ok(())
}

fn part(row: &PgRow) -> Result<Part, sqlx::Error> {
    Ok(Part {
        grant_id: row.try_get("grant_id")?,
        revoked: row.try_get("revoked")?,
        taken: row.try_get("taken")?,
    })
}
