use std::time::Duration;

use chrono::{DateTime, Utc};
use ids::UserId;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgExecutor, Row as _};
use uuid::Uuid;

use super::named;
use crate::domain::{Device, EndReason, Method, Role, Session, SessionId};

/// A session to be opened.
#[derive(Debug)]
pub(crate) struct New<'a> {
    pub(crate) session_id: SessionId,
    pub(crate) user_id: UserId,
    pub(crate) method: Method,
    pub(crate) device: &'a Device,
    pub(crate) ip: &'a str,
    pub(crate) lives: Duration,
    /// The hash that the password was compared with, if that was the proof.
    pub(crate) password_hash: Option<&'a str>,
}

/// What goes into the access token of an open session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    pub(crate) role: Role,
    pub(crate) epoch: i64,
    pub(crate) expires_at: DateTime<Utc>,
}

/// Opens a session, if the user is active and its password is still the one that was proved.
///
/// Waits for a change of the user that is under way. A ban or a new password that comes later finds the session and ends
/// it: both read the sessions after they have got the lock on the user.
pub(crate) async fn open(conn: &mut PgConnection, new: &New<'_>) -> Result<Option<Open>, sqlx::Error> {
    let row = sqlx::query(
        "with u as ( \
             select user_id, role, epoch from account \
             where user_id = $2 and state = 'active' and ($7::text is null or password_hash = $7) for share \
         ), opened as ( \
             insert into session (session_id, user_id, method, device, ip, expires_at) \
             select $1, user_id, $3, $4, $5, clock_timestamp() + $6::interval from u \
             returning expires_at \
         ) \
         select u.role, u.epoch, opened.expires_at from u, opened",
    )
    .bind(new.session_id.uuid())
    .bind(new.user_id.uuid())
    .bind(new.method.name())
    .bind(new.device.as_str())
    .bind(new.ip)
    .bind(new.lives)
    .bind(new.password_hash)
    .fetch_optional(conn)
    .await?;
    row.as_ref().map(open_session).transpose()
}

/// Notes that an open session of an active user goes on.
pub(crate) async fn touch(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    session_id: SessionId,
    lives: Duration,
) -> Result<Option<Open>, sqlx::Error> {
    let row = sqlx::query(
        "update session s set refreshed_at = clock_timestamp(), expires_at = clock_timestamp() + $3::interval \
         from account a \
         where s.session_id = $1 and s.user_id = $2 and s.ended_at is null and s.expires_at > clock_timestamp() \
             and a.user_id = s.user_id and a.state = 'active' \
         returning a.role, a.epoch, s.expires_at",
    )
    .bind(session_id.uuid())
    .bind(user_id.uuid())
    .bind(lives)
    .fetch_optional(db)
    .await?;
    row.as_ref().map(open_session).transpose()
}

/// Reads the newest open sessions of a user.
pub(crate) async fn list(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    limit: u32,
) -> Result<Vec<Session>, sqlx::Error> {
    let rows = sqlx::query(
        "select session_id, user_id, device, ip, created_at, refreshed_at, expires_at from session \
         where user_id = $1 and ended_at is null and expires_at > statement_timestamp() \
         order by session_id desc limit $2",
    )
    .bind(user_id.uuid())
    .bind(i64::from(limit))
    .fetch_all(db)
    .await?;
    rows.iter().map(session).collect()
}

/// Tells whether a user has or had such a session.
pub(crate) async fn exists(
    db: impl PgExecutor<'_>,
    user_id: UserId,
    session_id: SessionId,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select exists (select 1 from session where session_id = $1 and user_id = $2)")
        .bind(session_id.uuid())
        .bind(user_id.uuid())
        .fetch_one(db)
        .await
}

/// Ends a session of a user; returns false if it is over, or not the user's.
pub(crate) async fn end(
    conn: &mut PgConnection,
    user_id: UserId,
    session_id: SessionId,
    reason: EndReason,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(
        "update session set ended_at = clock_timestamp(), end_reason = $3 \
         where session_id = $1 and user_id = $2 and ended_at is null and expires_at > clock_timestamp()",
    )
    .bind(session_id.uuid())
    .bind(user_id.uuid())
    .bind(reason.name())
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends the open sessions of a user but for the newest `keep`, and but for `except`. Returns which. Locks them in the order
/// of their ids: logins of one user do so at the same time.
pub(crate) async fn end_many(
    conn: &mut PgConnection,
    user_id: UserId,
    except: Option<SessionId>,
    keep: u32,
    reason: EndReason,
) -> Result<Vec<SessionId>, sqlx::Error> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "update session set ended_at = clock_timestamp(), end_reason = $4 \
         where session_id in ( \
             select session_id from session where ended_at is null and session_id in ( \
                 select session_id from session \
                 where user_id = $1 and ended_at is null and expires_at > clock_timestamp() \
                     and session_id is distinct from $2 \
                 order by session_id desc offset $3 \
             ) order by session_id for update \
         ) returning session_id",
    )
    .bind(user_id.uuid())
    .bind(except.map(SessionId::uuid))
    .bind(i64::from(keep))
    .bind(reason.name())
    .fetch_all(conn)
    .await?;
    Ok(ids.into_iter().map(SessionId::from_uuid).collect())
}

/// Deletes up to `limit` sessions that have been over for so long; returns how many.
pub(crate) async fn sweep(db: impl PgExecutor<'_>, keep: Duration, limit: i64) -> Result<u64, sqlx::Error> {
    let done = sqlx::query(
        "delete from session where session_id in ( \
             select session_id from session \
             where least(coalesce(ended_at, expires_at), expires_at) < statement_timestamp() - $1::interval \
             order by least(coalesce(ended_at, expires_at), expires_at) limit $2 for update skip locked \
         )",
    )
    .persistent(false)
    .bind(keep)
    .bind(limit)
    .execute(db)
    .await?;
    Ok(done.rows_affected())
}

fn open_session(row: &PgRow) -> Result<Open, sqlx::Error> {
    Ok(Open {
        role: named("role", row.try_get("role")?, Role::from_name)?,
        epoch: row.try_get("epoch")?,
        expires_at: row.try_get("expires_at")?,
    })
}

fn session(row: &PgRow) -> Result<Session, sqlx::Error> {
    Ok(Session {
        session_id: SessionId::from_uuid(row.try_get("session_id")?),
        user_id: UserId::from_uuid(row.try_get("user_id")?),
        device: row.try_get("device")?,
        ip: row.try_get("ip")?,
        created_at: row.try_get("created_at")?,
        refreshed_at: row.try_get("refreshed_at")?,
        expires_at: row.try_get("expires_at")?,
    })
}
