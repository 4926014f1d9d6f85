use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor, Row as _};

use super::named;
use crate::domain::{KeyState, Stored};

/// First and second key of the advisory lock of those who rotate; arbitrary ("evkl" in ASCII, and a number of ours).
const LOCK: (i32, i32) = (0x6576_6b6c, 0x6b65_7973);

/// A key as it is published, with its private part where it may yet sign.
#[derive(Debug, Clone)]
pub(crate) struct Published {
    pub(crate) stored: Stored,
    /// As in a JWK: base64url.
    pub(crate) public_x: String,
    pub(crate) private_sealed: Option<Vec<u8>>,
}

/// Reads the database's clock, by which every replica judges.
pub(crate) async fn now(db: impl PgExecutor<'_>) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar("select clock_timestamp()").fetch_one(db).await
}

/// Lets one process at a time rotate, until the transaction ends. Returns the database's clock.
pub(crate) async fn lock(conn: &mut PgConnection) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query("select pg_advisory_xact_lock($1, $2)")
        .bind(LOCK.0)
        .bind(LOCK.1)
        .execute(&mut *conn)
        .await?;
    now(conn).await
}

/// Reads all keys, newest first. There are a handful.
pub(crate) async fn list(db: impl PgExecutor<'_>) -> Result<Vec<Published>, sqlx::Error> {
    let rows = sqlx::query(
        "select kid, public_x, private_sealed, state, created_at, activated_at, retired_at \
         from signing_key order by created_at desc, kid",
    )
    .fetch_all(db)
    .await?;
    rows.iter()
        .map(|row| {
            Ok(Published {
                stored: Stored {
                    kid: row.try_get("kid")?,
                    state: named("state", row.try_get("state")?, KeyState::from_name)?,
                    created_at: row.try_get("created_at")?,
                    activated_at: row.try_get("activated_at")?,
                    retired_at: row.try_get("retired_at")?,
                },
                public_x: row.try_get("public_x")?,
                private_sealed: row.try_get("private_sealed")?,
            })
        })
        .collect()
}

/// Stores a new key, next or active.
pub(crate) async fn insert(
    conn: &mut PgConnection,
    kid: &str,
    public_x: &str,
    private_sealed: &[u8],
    state: KeyState,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into signing_key (kid, public_x, private_sealed, state, activated_at) \
         values ($1, $2, $3, $4, case when $4 = 'active' then clock_timestamp() end)",
    )
    .bind(kid)
    .bind(public_x)
    .bind(private_sealed)
    .bind(state.name())
    .execute(conn)
    .await?;
    Ok(())
}

/// Lets the next key sign.
pub(crate) async fn activate(conn: &mut PgConnection, kid: &str) -> Result<(), sqlx::Error> {
    sqlx::query("update signing_key set state = 'active', activated_at = clock_timestamp() where kid = $1")
        .bind(kid)
        .execute(conn)
        .await?;
    Ok(())
}

/// Ends the signing of a key, and forgets its private part.
pub(crate) async fn retire(conn: &mut PgConnection, kid: &str) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update signing_key set state = 'retired', private_sealed = null, retired_at = clock_timestamp() \
         where kid = $1",
    )
    .bind(kid)
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a key.
pub(crate) async fn forget(conn: &mut PgConnection, kid: &str) -> Result<(), sqlx::Error> {
    sqlx::query("delete from signing_key where kid = $1")
        .bind(kid)
        .execute(conn)
        .await?;
    Ok(())
}
