//! The service's promise, evaluated on the live rows.

use sqlx::PgPool;

/// Two figures that should be equal and are not.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Drift {
    /// What should hold.
    pub what: String,
    /// Of what: a number, or a user.
    pub subject: String,
    /// What it should be.
    pub expected: i64,
    /// What is stored.
    pub found: i64,
}

/// Compares payments with their refunds, orders with their payments, commissions with their entries, memberships with their
/// periods, and what is open with what is asked for. Returns what differs; an empty list is the promise kept. It is the
/// function `drift()` of the schema, so that people can ask as well.
///
/// Reads all rows in one snapshot, without locks: it is right at any moment, and slow on a large database.
///
/// # Errors
/// If the database does not answer.
pub async fn drift(pool: &PgPool) -> Result<Vec<Drift>, sqlx::Error> {
    sqlx::query_as("select what, subject, expected, found from drift()")
        .fetch_all(pool)
        .await
}
