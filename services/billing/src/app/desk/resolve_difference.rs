//! Marks a difference as explained.

use ids::DifferenceId;
use sqlx::PgConnection;

use crate::error::Error;
use crate::store::differences::{self, Found};

/// Marks a difference as explained; later imports leave it so.
pub(crate) async fn resolve_difference(
    conn: &mut PgConnection,
    id: DifferenceId,
    by: &str,
    note: &str,
) -> Result<Found, Error> {
    if let Some(resolved) = differences::resolve(conn, id, by, note).await? {
        return Ok(resolved);
    }
    Err(if differences::exists(conn, id).await? {
        Error::CaseResolved
    } else {
        Error::NoDifference
    })
}
