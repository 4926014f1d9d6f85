//! A database for one test.

use std::str::FromStr;
use std::time::Duration;

use private_postgres::{Config, PrivatePostgres};
use process::PoolConfig;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgPool};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::Scratch;

/// Environment variable that names the server to use: a URL of a role that may create databases. `with-services` sets it.
pub const SERVER_VARIABLE: &str = "EVENKEEL_TEST_POSTGRES";
/// Connections of the private server; test binaries run several tests with pools of their own at once.
const MAX_CONNECTIONS: u16 = 300;
/// Order in which tables are found by SQL that names no schema, over [`TestDatabase::url`].
const SEARCH_PATH: &str = "public, saga, quota, task";

/// The server of this test process, if none was named. Statics are not dropped: its watchdog ends it with the process.
static PRIVATE: OnceCell<(PrivatePostgres, Scratch)> = OnceCell::const_new();

/// A database of its own for one test, with the schemas asked for. Dropped with this value, connections or not.
#[derive(Debug)]
pub struct TestDatabase {
    name: String,
    server: PgConnectOptions,
    admin: PgPool,
}

impl TestDatabase {
    /// Creates a database on the server that [`SERVER_VARIABLE`] names, or on a private one that is started once for each
    /// test process, and migrates the schemas in the order given.
    ///
    /// # Panics
    /// If there is no server or a migration fails.
    pub async fn create(schemas: &[(&str, &Migrator)]) -> Self {
        Self::create_on(&server_url().await, schemas).await
    }

    /// Does the same on the server with this URL, of a role that may create databases.
    ///
    /// # Panics
    /// If the server does not answer or a migration fails.
    pub async fn create_on(url: &str, schemas: &[(&str, &Migrator)]) -> Self {
        let server =
            PgConnectOptions::from_str(url).unwrap_or_else(|error| panic!("{url} is not a URL: {error}"));
        let name = format!("test_{}", Uuid::new_v4().simple());
        let mut connection = server.connect().await.expect("the test server answers");
        for sql in [
            format!("create database {name}"),
            format!("alter database {name} set search_path = {SEARCH_PATH}"),
        ] {
            sqlx::query(AssertSqlSafe(sql))
                .execute(&mut connection)
                .await
                .expect("the role may create databases");
        }
        connection.close().await.expect("the test server answers");
        let admin = PgPoolOptions::new()
            .max_connections(5)
            .connect_lazy_with(server.clone().database(&name));
        let database = Self { name, server, admin };
        for (schema, migrator) in schemas {
            process::migrate::run(&database.url(), schema, migrator)
                .await
                .unwrap_or_else(|error| panic!("{error}: {:?}", std::error::Error::source(&error)));
        }
        database
    }

    /// Returns the connection URL of the database.
    #[must_use]
    pub fn url(&self) -> String {
        self.server
            .clone()
            .database(&self.name)
            .to_url_lossy()
            .to_string()
    }

    /// Returns the name of the database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns a pool of at most 5 connections with the search path public, saga, quota, task, for looking at anything.
    #[must_use]
    pub fn admin(&self) -> &PgPool {
        &self.admin
    }

    /// Opens a pool on `schema` as a service does, with 0 to 20 connections.
    ///
    /// # Panics
    /// If the database does not answer.
    pub async fn pool(&self, schema: &str) -> PgPool {
        process::pool::connect("test", schema, &self.pool_config())
            .await
            .expect("the test database answers")
    }

    /// Returns the limits [`pool`](Self::pool) uses, for services that open their own.
    #[must_use]
    pub fn pool_config(&self) -> PoolConfig {
        PoolConfig {
            url: self.url(),
            min: 0,
            max: 20,
            ..PoolConfig::default()
        }
    }
}

impl Drop for TestDatabase {
    /// Drops the database from a thread of its own, since this one may be inside a runtime. Only a best effort: the
    /// server may be gone.
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .ok()?;
            let work = async {
                let mut connection = server.connect().await?;
                let sql = format!("drop database if exists {name} with (force)");
                sqlx::query(AssertSqlSafe(sql)).execute(&mut connection).await
            };
            runtime.block_on(async {
                tokio::time::timeout(Duration::from_secs(10), work)
                    .await
                    .ok()?
                    .ok()
            })
        });
        if !matches!(thread.join(), Ok(Some(_))) {
            eprintln!("the test database {} was not dropped", self.name);
        }
    }
}

async fn server_url() -> String {
    match std::env::var(SERVER_VARIABLE).ok().filter(|url| !url.is_empty()) {
        Some(url) => url,
        None => PRIVATE.get_or_init(start).await.0.admin_url(),
    }
}

async fn start() -> (PrivatePostgres, Scratch) {
    let scratch = Scratch::new().expect("a directory can be made in the temporary directory");
    let config = Config {
        fsync: false,
        max_connections: MAX_CONNECTIONS,
        ..Config::new(scratch.postgres_dir())
    };
    match PrivatePostgres::start(config).await {
        Ok(server) => (server, scratch),
        Err(error) => panic!("{error}"),
    }
}
