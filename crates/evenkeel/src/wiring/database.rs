//! The database of a process: one that runs already, or a private one.

use std::path::{Path, PathBuf};
use std::time::Duration;

use private_postgres::PrivatePostgres;
use process::{PoolConfig, PoolGauge, pool};
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection};

use super::settings::Name;
use crate::exit::Failure;
use crate::output;

/// Name of the database in a private server.
const DATABASE: &str = "evenkeel";
/// Where a private server goes if the wanted directory cannot be reached by the user it runs as.
const ROOT_DATA_DIR: &str = "/var/lib/evenkeel";
/// A database that does not answer for so long counts as absent.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A database to work on.
#[derive(Debug)]
pub(crate) struct Database {
    /// Connection URL with the right to create schemas.
    pub(crate) url: String,
    /// The server, if it is a private one. It stops when this is dropped.
    private: Option<PrivatePostgres>,
}

impl Database {
    /// Uses the server that `url` names, or starts a private one in `data_dir` on `port` (`None`: a free one).
    ///
    /// # Errors
    /// No Postgres binaries, an unusable directory, a server that does not answer.
    pub(crate) async fn open(url: &str, data_dir: &Path, port: Option<u16>) -> Result<Self, Failure> {
        if !url.is_empty() {
            return Ok(Self {
                url: url.to_owned(),
                private: None,
            });
        }
        let wanted = data_dir.join("postgres");
        let server = match start(wanted.clone(), port).await {
            Err(private_postgres::Error::NotSearchable { .. }) => {
                let instead = Path::new(ROOT_DATA_DIR).join("postgres");
                output::remark(&format!(
                    "{} is closed to the user Postgres runs as; using {}",
                    wanted.display(),
                    instead.display()
                ));
                start(instead, port).await
            }
            started => started,
        };
        let server = server.map_err(|error| no_server(&error))?;
        create_database(&server.admin_url()).await?;
        Ok(Self {
            url: server.url(DATABASE),
            private: Some(server),
        })
    }

    /// Stops the server, if it is ours.
    pub(crate) async fn close(self) {
        if let Some(server) = self.private {
            server.stop().await;
        }
    }
}

async fn start(data_dir: PathBuf, port: Option<u16>) -> Result<PrivatePostgres, private_postgres::Error> {
    let mut config = private_postgres::Config::new(data_dir);
    config.port = port;
    PrivatePostgres::start(config).await
}

fn no_server(error: &private_postgres::Error) -> Failure {
    use private_postgres::Error;
    let failure = Failure::unavailable("cannot start a private Postgres").because(error);
    match error {
        Error::Start { .. } | Error::InUse { .. } => {
            failure.next("choose other ports with --port-base (0 takes free ones), or another --data-dir")
        }
        // These say themselves what to do.
        Error::NoBinaries { .. }
        | Error::BadPgBin { .. }
        | Error::Version { .. }
        | Error::NotSearchable { .. }
        | Error::NoAccount
        | Error::Initdb { .. }
        | Error::NotReady { .. }
        | Error::Io { .. } => failure,
    }
}

async fn create_database(admin_url: &str) -> Result<(), Failure> {
    let failed = |error: sqlx::Error| Failure::unavailable("cannot create the database").because(&error);
    let mut connection = connect(admin_url).await?;
    let exists: bool = sqlx::query_scalar("select exists (select 1 from pg_database where datname = $1)")
        .bind(DATABASE)
        .fetch_one(&mut connection)
        .await
        .map_err(failed)?;
    if !exists {
        sqlx::query(AssertSqlSafe(format!("create database {DATABASE}")))
            .execute(&mut connection)
            .await
            .map_err(failed)?;
    }
    // The server notices by itself if this goodbye is lost.
    let _ = connection.close().await;
    Ok(())
}

/// Opens one connection, for administration.
///
/// # Errors
/// The URL is wrong, or the server does not answer within 10 s.
pub(crate) async fn connect(url: &str) -> Result<PgConnection, Failure> {
    let options: PgConnectOptions = url.parse().map_err(|_| {
        // The error of the parser may quote the password.
        Failure::config("the database URL is not of the form postgres://user:password@host:port/database")
    })?;
    let place = format!("{}:{}", options.get_host(), options.get_port());
    let absent = || {
        Failure::unavailable(format!("cannot connect to Postgres at {place}"))
            .next("set DATABASE_URL to a server that runs, or run `evenkeel dev`, which brings its own")
    };
    match tokio::time::timeout(
        CONNECT_TIMEOUT,
        options.application_name("evenkeel/cli").connect(),
    )
    .await
    {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(absent().because(&error)),
        Err(_) => Err(absent()),
    }
}

/// Schema and migrations of what services tell each other.
pub(crate) const EVENTS: (&str, &Migrator) = (events::SCHEMA, &events::MIGRATOR);
/// Schema and migrations of what they remember for a while.
pub(crate) const STORE: (&str, &Migrator) = (kv::SCHEMA, &kv::MIGRATOR);

/// Schema and migrations of a service; `None` if it has none.
pub(crate) fn migrator(name: Name) -> Option<(&'static str, &'static Migrator)> {
    Some(match name {
        Name::Auth => (auth::SCHEMA, &auth::MIGRATOR),
        Name::Quota => (quota::SCHEMA, &quota::MIGRATOR),
        Name::Task => (task::SCHEMA, &task::MIGRATOR),
        Name::Billing => (billing::SCHEMA, &billing::MIGRATOR),
        Name::Saga => (saga::SCHEMA, &saga::MIGRATOR),
        Name::Gateway => return None,
    })
}

/// Brings the schemas of some services up to date, and makes their tables visible without a prefix.
///
/// # Errors
/// An unreachable database, a failing or an edited migration.
pub(crate) async fn migrate(url: &str, names: &[Name]) -> Result<(), Failure> {
    let mut connection = connect(url).await?;
    // Every process has a broker and a store, so their tables come with any service.
    let all = [EVENTS, STORE]
        .into_iter()
        .chain(names.iter().filter_map(|name| migrator(*name)));
    for (schema, migrator) in all {
        process::migrate::run(url, schema, migrator)
            .await
            .map_err(|error| Failure::unavailable(format!("cannot migrate {schema}")).because(&error))?;
    }
    let result = set_search_path(&mut connection).await;
    let _ = connection.close().await;
    if let Err(error) = result {
        output::remark(&format!(
            "cannot set the database's search_path ({error}); write saga.saga_instances instead of saga_instances"
        ));
    }
    Ok(())
}

/// Lets people write `select * from saga_instances`. Services set their own search_path and are not affected.
async fn set_search_path(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let schemas: Vec<&str> = Name::ALL
        .iter()
        .rev()
        .filter_map(|name| Some(migrator(*name)?.0))
        .collect();
    let quoted: String = sqlx::query_scalar("select quote_ident(current_database())")
        .fetch_one(&mut *connection)
        .await?;
    let path = schemas.join(", ");
    sqlx::query(AssertSqlSafe(format!(
        "alter database {quoted} set search_path = \"$user\", public, {path}"
    )))
    .execute(connection)
    .await?;
    Ok(())
}

/// Opens a service's two pools. They share its budget: half of the connections each.
///
/// # Errors
/// Contradicting limits, or a database that does not answer.
pub(crate) async fn pools(name: Name, config: &PoolConfig) -> Result<(PoolGauge, PoolGauge), Failure> {
    let steps = half_pool(name, name.steps_text(), config);
    Ok((pool(name, config).await?, steps.await?))
}

/// Opens the one pool of a service that takes no steps: half of a budget, as its public side would have elsewhere.
///
/// # Errors
/// As [`pools`].
pub(crate) async fn pool(name: Name, config: &PoolConfig) -> Result<PoolGauge, Failure> {
    half_pool(name, name.text(), config).await
}

async fn half_pool(name: Name, pool_name: &str, config: &PoolConfig) -> Result<PoolGauge, Failure> {
    let (schema, _) = migrator(name).expect("whoever has a pool has a schema");
    let half = PoolConfig {
        min: config.min / 2,
        max: (config.max / 2).max(1),
        ..config.clone()
    };
    let pool = pool::connect(pool_name, schema, &half).await;
    pool.map(|pool| PoolGauge::new(pool_name, pool))
        .map_err(|error| match error {
            pool::Error::Limits { .. } | pool::Error::Schema(_) | pool::Error::Url { .. } => {
                Failure::config("the database settings are wrong").because(&error)
            }
            pool::Error::Connect { .. } => {
                Failure::unavailable("the database does not answer").because(&error)
            }
        })
}

/// Sagas by status and reason, as the view `saga_instances` shows them.
///
/// # Errors
/// If the database does not answer.
pub(crate) async fn saga_counts(url: &str) -> Result<Vec<(String, String, i64)>, Failure> {
    let mut connection = connect(url).await?;
    sqlx::query_as(
        "select status, coalesce(reason, ''), count(*) from saga.saga_instances group by 1, 2 order by 1, 2",
    )
    .fetch_all(&mut connection)
    .await
    .map_err(|error| Failure::unavailable("cannot count the sagas").because(&error))
}

/// Figures of the quota service that should be equal and are not.
///
/// # Errors
/// If the database does not answer.
pub(crate) async fn quota_drift(url: &str) -> Result<Vec<quota::Drift>, Failure> {
    let pool = one_connection(url, quota::SCHEMA).await?;
    let drift = quota::drift(&pool).await;
    pool.close().await;
    drift.map_err(|error| not_compared(quota::SCHEMA, &error))
}

/// Figures of the billing service that should be equal and are not.
///
/// # Errors
/// If the database does not answer.
pub(crate) async fn billing_drift(url: &str) -> Result<Vec<billing::Drift>, Failure> {
    let pool = one_connection(url, billing::SCHEMA).await?;
    let drift = billing::drift(&pool).await;
    pool.close().await;
    drift.map_err(|error| not_compared(billing::SCHEMA, &error))
}

/// Connections to whatever is sealed; close them.
///
/// # Errors
/// If the database does not answer.
pub(crate) async fn sealed_pool(url: &str) -> Result<sqlx::PgPool, Failure> {
    one_connection(url, billing::SCHEMA).await
}

async fn one_connection(url: &str, schema: &'static str) -> Result<sqlx::PgPool, Failure> {
    let one = PoolConfig {
        url: url.to_owned(),
        min: 0,
        max: 1,
        ..PoolConfig::default()
    };
    let pool = pool::connect("doctor", schema, &one).await;
    pool.map_err(|error| not_compared(schema, &error))
}

fn not_compared(schema: &str, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::unavailable(format!("the figures of {schema} cannot be compared")).because(error)
}
