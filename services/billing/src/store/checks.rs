//! The table `provider_checks`: whose outcome is open, and when the provider is asked next.
//!
//! A worker takes a row with a lease, calls the provider outside of any transaction, and writes what it learned in one
//! that holds the row and still has the lease.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgExecutor, Row};
use uuid::Uuid;

use super::row;
use crate::domain::Channel;

/// What a provider is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    Payment,
    Refund,
    Withdrawal,
}

impl Subject {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Payment => "payment",
            Self::Refund => "refund",
            Self::Withdrawal => "withdrawal",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Payment, Self::Refund, Self::Withdrawal]
            .into_iter()
            .find(|subject| subject.name() == name)
    }
}

/// A row that this worker has taken.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) subject: Subject,
    pub(crate) id: Uuid,
    pub(crate) channel: Channel,
    pub(crate) token: Uuid,
    /// Answers so far that told nothing new.
    pub(crate) tries: i32,
    /// When it was due. Another time in the row means that it was made due again since.
    pub(crate) due_at: DateTime<Utc>,
    /// For how long the outcome of a call has been unknown.
    pub(crate) unknown_for: Option<Duration>,
}

impl FromRow<'_, PgRow> for Claim {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let name: &str = row.try_get("subject")?;
        let unknown_s: Option<f64> = row.try_get("unknown_s")?;
        Ok(Self {
            subject: Subject::from_name(name)
                .ok_or_else(|| row::decode(format!("no subject is named {name:?}")))?,
            id: row.try_get("subject_id")?,
            channel: row::channel(row)?,
            token: row.try_get("lease_token")?,
            tries: row.try_get("tries")?,
            due_at: row.try_get("next_at")?,
            unknown_for: unknown_s.map(|s| Duration::try_from_secs_f64(s).unwrap_or_default()),
        })
    }
}

/// Makes a check due now: a new one, or one that waits. Called in the transaction that changes what is checked.
pub(crate) async fn due(
    conn: &mut PgConnection,
    subject: Subject,
    id: Uuid,
    channel: Channel,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into provider_checks (subject, subject_id, channel) values ($1, $2, $3)
         on conflict on constraint provider_checks_pkey
         do update set next_at = clock_timestamp(), tries = 0",
    )
    .bind(subject.name())
    .bind(id)
    .bind(channel.name())
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes a check due now that waits. False if there is none: the outcome is known.
pub(crate) async fn hurry(conn: &mut PgConnection, subject: Subject, id: Uuid) -> Result<bool, sqlx::Error> {
    let hurried = sqlx::query(
        "update provider_checks set next_at = clock_timestamp(), tries = 0
         where subject = $1 and subject_id = $2",
    )
    .bind(subject.name())
    .bind(id)
    .execute(conn)
    .await?;
    Ok(hurried.rows_affected() == 1)
}

/// Deletes a check: the outcome is known. The row is locked after what it is about.
pub(crate) async fn done(conn: &mut PgConnection, subject: Subject, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query("delete from provider_checks where subject = $1 and subject_id = $2")
        .bind(subject.name())
        .bind(id)
        .execute(conn)
        .await?;
    Ok(())
}

/// Tells whether a worker is asking at this moment, and keeps others from beginning to until the end of the transaction.
pub(crate) async fn is_leased(
    conn: &mut PgConnection,
    subject: Subject,
    id: Uuid,
) -> Result<bool, sqlx::Error> {
    let leased: Option<bool> = sqlx::query_scalar(
        "select coalesce(lease_until >= clock_timestamp(), false) from provider_checks
         where subject = $1 and subject_id = $2 for update",
    )
    .bind(subject.name())
    .bind(id)
    .fetch_optional(conn)
    .await?;
    Ok(leased == Some(true))
}

/// Returns for how long the outcome of a call has been unknown, as it is now. The row is to be locked before.
pub(crate) async fn unknown_for(
    conn: &mut PgConnection,
    claim: &Claim,
) -> Result<Option<Duration>, sqlx::Error> {
    let unknown_s: Option<Option<f64>> = sqlx::query_scalar(
        "select extract(epoch from clock_timestamp() - unknown_since)::float8 from provider_checks
         where subject = $1 and subject_id = $2",
    )
    .bind(claim.subject.name())
    .bind(claim.id)
    .fetch_optional(conn)
    .await?;
    Ok(unknown_s
        .flatten()
        .map(|s| Duration::try_from_secs_f64(s).unwrap_or_default()))
}

/// Counts the time of an unknown outcome from now on: a person has been told.
pub(crate) async fn told(conn: &mut PgConnection, subject: Subject, id: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update provider_checks set unknown_since = clock_timestamp()
         where subject = $1 and subject_id = $2 and unknown_since is not null",
    )
    .bind(subject.name())
    .bind(id)
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes up to `limit` checks that are due, for the time of a lease.
pub(crate) async fn take(
    db: impl PgExecutor<'_>,
    limit: i64,
    lease: Duration,
) -> Result<Vec<Claim>, sqlx::Error> {
    sqlx::query_as(
        "update provider_checks c
         set lease_token = gen_random_uuid(), lease_until = clock_timestamp() + make_interval(secs => $2)
         from (
            select subject, subject_id from provider_checks
            where next_at <= statement_timestamp() and (lease_until is null or lease_until < statement_timestamp())
            order by next_at limit $1
            for update skip locked
         ) due
         where c.subject = due.subject and c.subject_id = due.subject_id
         returning c.subject, c.subject_id, c.channel, c.lease_token, c.tries, c.next_at,
                   extract(epoch from clock_timestamp() - c.unknown_since)::float8 as unknown_s",
    )
    .bind(limit)
    .bind(lease.as_secs_f64())
    .fetch_all(db)
    .await
}

/// Tells whether this worker still has the check, and locks it. Call it after locking what the check is about.
pub(crate) async fn still_mine(conn: &mut PgConnection, claim: &Claim) -> Result<bool, sqlx::Error> {
    let found = sqlx::query(
        "select 1 from provider_checks
         where subject = $1 and subject_id = $2 and lease_token = $3 for update",
    )
    .bind(claim.subject.name())
    .bind(claim.id)
    .bind(claim.token)
    .fetch_optional(conn)
    .await?;
    Ok(found.is_some())
}

/// How a check goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// The outcome is known.
    Done,
    /// Something new is known: the waits begin again, with the first.
    Soon,
    /// Ask at once.
    Now,
    /// Nothing new: the next wait.
    Later,
    /// The outcome of a call is unknown: the next wait, and the time is counted.
    Unknown(String),
    /// As [`Later`](Self::Later), but not after this wait.
    Within(Duration),
}

/// Gives a check back, with when it is due next. False if this worker had lost it.
pub(crate) async fn give_back(
    db: impl PgExecutor<'_>,
    claim: &Claim,
    next: &Next,
    waits: &[Duration],
) -> Result<bool, sqlx::Error> {
    let wait = |tries: i32| {
        let place = usize::try_from(tries)
            .unwrap_or(0)
            .min(waits.len().saturating_sub(1));
        waits.get(place).copied().unwrap_or(Duration::from_secs(60))
    };
    let (after, tries) = match next {
        Next::Done | Next::Now => (Duration::ZERO, 0),
        Next::Soon => (wait(0), 1),
        Next::Later | Next::Unknown(_) => (wait(claim.tries), claim.tries.saturating_add(1)),
        Next::Within(most) => (wait(claim.tries).min(*most), claim.tries.saturating_add(1)),
    };
    let error = match next {
        Next::Unknown(error) => Some(error.as_str()),
        Next::Done | Next::Soon | Next::Now | Next::Later | Next::Within(_) => None,
    };
    // `due` may have come in between: what it asked for is not put off, and its waits begin anew.
    let given = sqlx::query(
        "update provider_checks
         set lease_token = null, lease_until = null, last_error = $6,
             tries = case when next_at = $7 then $5 else tries end,
             next_at = case when next_at = $7 then clock_timestamp() + make_interval(secs => $4) else next_at end,
             unknown_since = case when $6 is null then null else coalesce(unknown_since, clock_timestamp()) end
         where subject = $1 and subject_id = $2 and lease_token = $3",
    )
    .bind(claim.subject.name())
    .bind(claim.id)
    .bind(claim.token)
    .bind(after.as_secs_f64())
    .bind(tries)
    .bind(error)
    .bind(claim.due_at)
    .execute(db)
    .await?;
    Ok(given.rows_affected() == 1)
}
