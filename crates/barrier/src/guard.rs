//! The check that a worker makes last.

use ids::SagaId;
use rpc::step::Op;
use sqlx::PgConnection;

use crate::decide;
use crate::rows::{self, Key};

/// Whether the result of a worker is still wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guard {
    /// The action stands; a compensation that comes now waits for this transaction.
    Wanted,
    /// The action was compensated: the worker's transaction must be rolled back.
    Superseded,
    /// There is no such action: the transaction that began the work was not committed, or the row was retired.
    Absent,
}

/// Locks the row of an action until the end of the transaction, and tells whether its effect is still wanted.
///
/// For the last transaction of a worker that carries out a pending operation (DESIGN section 4, rule 6). Call it before
/// locking business rows.
///
/// # Errors
/// If the database does not answer. An index above 2,147,483,647 is never stored, and counts as absent.
pub async fn guard(
    conn: &mut PgConnection,
    saga_id: SagaId,
    step: &str,
    index: u32,
) -> Result<Guard, sqlx::Error> {
    let Ok(index) = i32::try_from(index) else {
        return Ok(Guard::Absent);
    };
    let key = Key { saga_id, step, index };
    let row = rows::lock(conn, key, Op::Action).await?;
    Ok(decide::worker(row.map(|row| row.state)))
}
