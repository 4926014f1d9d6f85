//! A store of its own for one test.

use std::time::Duration;

use kv::{Config, Key, Kv};
use sqlx::PgPool;
use test_support::{TestDatabase, TestRedis};

pub(crate) const LONG: Duration = Duration::from_secs(30);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);
/// Ends while the test looks.
pub(crate) const SHORT: Duration = Duration::from_millis(60);

/// Which store a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Redis,
    Postgres,
}

#[derive(Debug)]
enum Host {
    Redis(TestRedis),
    Postgres(Box<TestDatabase>),
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) kv: Kv,
    host: Host,
}

/// Time enough for a machine that is busy with other tests.
pub(crate) fn patient() -> Config {
    Config {
        timeout: Duration::from_secs(20),
        ..Config::default()
    }
}

impl World {
    pub(crate) async fn new(kind: Kind) -> Self {
        match kind {
            Kind::Redis => {
                let redis = TestRedis::create().await;
                let config = Config {
                    redis_url: Some(redis.url()),
                    ..patient()
                };
                let kv = Kv::open(&config, unused_pool()).unwrap();
                Self {
                    kv,
                    host: Host::Redis(redis),
                }
            }
            Kind::Postgres => {
                let database = TestDatabase::create(&[(kv::SCHEMA, &kv::MIGRATOR)]).await;
                let kv = Kv::open(&patient(), database.pool(kv::SCHEMA).await).unwrap();
                Self {
                    kv,
                    host: Host::Postgres(Box::new(database)),
                }
            }
        }
    }

    /// Empties the store, as a restart without persistence does.
    pub(crate) async fn flush(&self) {
        match &self.host {
            Host::Redis(redis) => redis.flush().await,
            Host::Postgres(database) => {
                sqlx::query("truncate kv.entry")
                    .execute(database.admin())
                    .await
                    .unwrap();
            }
        }
    }

    /// The database of a Postgres store.
    pub(crate) fn database(&self) -> &TestDatabase {
        match &self.host {
            Host::Postgres(database) => database,
            Host::Redis(_) => panic!("this store is no Postgres"),
        }
    }
}

/// A pool that Redis leaves alone: nobody listens there.
pub(crate) fn unused_pool() -> PgPool {
    PgPool::connect_lazy("postgres://nobody@127.0.0.1:1/none").unwrap()
}

pub(crate) fn key(name: &str) -> Key {
    Key::new("test", &[name])
}
