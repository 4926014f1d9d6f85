//! A participant for three sagas: `JOURNEY` branches and joins, `TRANSFER` tries, confirms and cancels, `LEND` asks by an
//! event and waits for the answer.
//!
//! What to look at: `sagas/*.yaml` are the definitions, `src/trips.rs`, `wallets.rs` and `loans.rs` the steps. Each step is an
//! ordinary gRPC method whose work runs behind the barrier ([`barrier::run`]), so it may be called twice, late, or only to
//! be undone.

mod loans;
mod trips;
mod wallets;

pub use loans::allocator;

use barrier::{RefusalCode, Stop};
use sqlx::{AssertSqlSafe, PgPool};
use tonic::service::Routes;

/// Generated types and stubs.
#[expect(clippy::allow_attributes, reason = "generated; not written to our rules")]
pub mod v1 {
    tonic::include_proto!("example.shapes.v1");
}

/// The example's types, for the orchestrator's `participants` settings.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

/// The definitions, name and text.
pub const DEFINITIONS: [(&str, &str); 3] = [
    ("JOURNEY.yaml", include_str!("../sagas/JOURNEY.yaml")),
    ("TRANSFER.yaml", include_str!("../sagas/TRANSFER.yaml")),
    ("LEND.yaml", include_str!("../sagas/LEND.yaml")),
];

/// Schema of the example's tables.
pub const SCHEMA: &str = "shapes";

/// Domain of the example's refusals.
pub const DOMAIN: &str = "shapes.example";

/// Makes the tables in the schema that the pool's `search_path` names first.
///
/// # Errors
/// If they exist, or the database does not answer.
pub async fn create_tables(pool: &PgPool) -> Result<(), sqlx::Error> {
    for sql in [barrier::TABLE_SQL, include_str!("../schema.sql")] {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await?;
    }
    Ok(())
}

/// Returns the steps, ready to be served.
#[must_use]
pub fn routes(pool: &PgPool) -> Routes {
    let trips = trips::Trips { pool: pool.clone() };
    let wallets = wallets::Wallets { pool: pool.clone() };
    let loans = loans::Loans { pool: pool.clone() };
    Routes::new(v1::trip_steps_server::TripStepsServer::new(trips))
        .add_service(v1::wallet_steps_server::WalletStepsServer::new(wallets))
        .add_service(v1::loan_steps_server::LoanStepsServer::new(loans))
}

/// A definite no, with a reason of our own.
fn no(reason: &'static str, message: impl Into<String>) -> Stop {
    Stop::refuse_as(RefusalCode::FailedPrecondition, reason, message)
}
