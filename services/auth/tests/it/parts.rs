//! What the tests of parts stand on.

use auth::limits::{Config, Limits};
use auth::sealed::{self, Vault};
use kv::Kv;
use test_support::{TestDatabase, TestRedis};

/// Which store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Redis,
    Postgres,
}

/// A store of a test's own.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) limits: Limits,
    pub(crate) kv: Kv,
    _database: TestDatabase,
    _redis: Option<TestRedis>,
}

impl Parts {
    pub(crate) async fn new(store: Store, config: Config) -> Self {
        let database = TestDatabase::create(&[(kv::SCHEMA, &kv::MIGRATOR)]).await;
        let redis = match store {
            Store::Redis => Some(TestRedis::create().await),
            Store::Postgres => None,
        };
        let settings = kv::Config {
            redis_url: redis.as_ref().map(TestRedis::url),
            timeout: std::time::Duration::from_secs(20),
            ..kv::Config::default()
        };
        let kv = Kv::open(&settings, database.pool(kv::SCHEMA).await).unwrap();
        let vault = Vault::new(&sealed::Config::generate().unwrap()).unwrap();
        Self {
            limits: Limits::new(config, kv.clone(), vault),
            kv,
            _database: database,
            _redis: redis,
        }
    }
}

/// Limits that stand in nobody's way.
pub(crate) fn generous() -> Config {
    Config {
        login_pair_per_minute: 10_000,
        login_phone_per_hour: 10_000,
        login_ip_per_hour: 10_000,
        login_all_per_minute: 10_000,
        codes_phone_per_day: 10_000,
        codes_ip_per_day: 10_000,
        codes_all_per_minute: 10_000,
        passwords_per_hour: 10_000,
    }
}
