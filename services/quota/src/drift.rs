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

/// Compares every account with its ledger, its reservations and its grants, every grant with the parts taken, its ledger
/// and its clawbacks, and every reservation with its parts and its ledger. Returns what differs; an empty list is the
/// promise kept. It is the function `drift()` of the schema, so that people can ask as well.
///
/// Reads all rows in one snapshot, without locks: it is right at any moment, and slow on a large database.
///
/// # Errors
/// If the database does not answer.
pub async fn drift(pool: &PgPool) -> Result<Vec<Drift>, sqlx::Error> {
    let rows = sqlx::query("select user_id, what, expected, found from drift()")
        .fetch_all(pool)
        .await?;
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

/// Makes the account of a user what its ledger says; tells whether it was something else.
///
/// # Errors
/// The ledger is such that no account can be, or the database does not answer.
pub async fn rebuild_account(pool: &PgPool, user_id: UserId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("select rebuild_account($1)")
        .bind(user_id.uuid())
        .fetch_one(pool)
        .await
}
