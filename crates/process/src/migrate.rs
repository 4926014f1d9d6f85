//! Brings a service's schema up to date. Forward only.

use std::str::FromStr;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use crate::pool::{self, check_schema};

/// First key of the advisory lock that makes runners of one schema wait for each other; the second is the hash of the
/// schema's name. An arbitrary constant ("evkl" in ASCII).
const LOCK_CLASS: i32 = 0x6576_6b6c;

/// Why a migration did not happen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The schema name is not acceptable.
    #[error(transparent)]
    Schema(#[from] pool::Error),
    /// The database cannot be reached or refuses us.
    #[error("schema `{schema}`: cannot prepare the migration")]
    Connect {
        /// The schema.
        schema: String,
        /// The cause.
        #[source]
        source: sqlx::Error,
    },
    /// A migration failed, or an applied one was edited.
    #[error("schema `{schema}`: migration failed")]
    Migrate {
        /// The schema.
        schema: String,
        /// The cause.
        #[source]
        source: MigrateError,
    },
}

/// Creates `schema` if it is absent and applies what `migrator` has and the schema has not, with `search_path` set to the
/// schema, so that the table `_sqlx_migrations` lies there, too. Any number of runners may do so at once: they wait for
/// each other and each migration is applied once.
///
/// # Errors
/// A bad schema name, an unreachable database, a failing or an edited migration.
pub async fn run(admin_url: &str, schema: &str, migrator: &Migrator) -> Result<(), Error> {
    check_schema(schema)?;
    let failed = |source| Error::Connect {
        schema: schema.to_owned(),
        source,
    };
    let options = PgConnectOptions::from_str(admin_url)
        .map_err(failed)?
        .application_name("evenkeel/migrate")
        .options([("search_path", schema)]);
    let mut connection = options.connect().await.map_err(failed)?;
    prepare(&mut connection, schema).await.map_err(failed)?;
    migrator
        .run_direct(None, &mut connection, false)
        .await
        .map_err(|source| Error::Migrate {
            schema: schema.to_owned(),
            source,
        })?;
    // Closing the session gives up its advisory locks; after an error dropping the connection does.
    connection.close().await.map_err(failed)
}

/// Takes the lock, then creates the schema. `create schema if not exists` alone fails if two sessions run it at once.
async fn prepare(connection: &mut PgConnection, schema: &str) -> Result<(), sqlx::Error> {
    sqlx::query("select pg_advisory_lock($1, hashtext($2))")
        .bind(LOCK_CLASS)
        .bind(schema)
        .execute(&mut *connection)
        .await?;
    // check_schema admits nothing that would need quoting or escaping; the quotes are for reserved words.
    sqlx::query(AssertSqlSafe(format!("create schema if not exists \"{schema}\"")))
        .execute(connection)
        .await?;
    Ok(())
}
