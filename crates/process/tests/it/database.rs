//! Pools and migrations.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use process::{PoolConfig, PoolGauge, migrate, pool};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};
use test_support::{TestDatabase, eventually};

const LONG: Duration = Duration::from_secs(30);

fn migrator(steps: &[&'static str]) -> Migrator {
    let migration = |(version, sql): (i64, &&'static str)| {
        Migration::new(
            version,
            Cow::Borrowed("step"),
            MigrationType::Simple,
            (*sql).into_sql_str(),
            false,
        )
    };
    Migrator::with_migrations((1..).zip(steps).map(migration).collect())
}

#[tokio::test]
async fn a_gauge_executes_as_a_pool_does_and_counts_who_waits() {
    let database = TestDatabase::create(&[]).await;
    let config = PoolConfig {
        min: 0,
        max: 1,
        ..database.pool_config()
    };
    let gauge = PoolGauge::new("one", pool::connect("one", "public", &config).await.unwrap());
    // More rows than are held in hand.
    let numbers: Vec<i32> = sqlx::query_scalar("select * from generate_series(1, 500)")
        .fetch_all(&gauge)
        .await
        .unwrap();
    assert_eq!(numbers, (1..=500).collect::<Vec<_>>());
    let one: Option<i32> = sqlx::query_scalar("select 1 where $1")
        .bind(false)
        .fetch_optional(&gauge)
        .await
        .unwrap();
    assert_eq!(one, None);
    let created = sqlx::query("create table t as select * from generate_series(1, 7)")
        .execute(&gauge)
        .await
        .unwrap();
    assert_eq!(created.rows_affected(), 7);
    // An error after some rows is an error.
    let failed = sqlx::query("select 1 / (3 - n) from generate_series(1, 5) n")
        .fetch_all(&gauge)
        .await
        .unwrap_err();
    assert!(failed.to_string().contains("division by zero"), "{failed}");

    let held = gauge
        .begin_with("begin isolation level serializable")
        .await
        .unwrap();
    let waiting = tokio::spawn({
        let gauge = gauge.clone();
        async move { sqlx::query("select 1").execute(&gauge).await }
    });
    eventually(LONG, || async { gauge.usage().pending == 1 }).await;
    held.rollback().await.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(gauge.usage().pending, 0);
}

#[tokio::test]
async fn concurrent_runners_apply_each_migration_once() {
    let database = TestDatabase::create(&[]).await;
    let url = database.url();
    let runs = (0..6).map(|runner| {
        let url = url.clone();
        tokio::spawn(async move {
            // Not idempotent on purpose: a second application would fail or leave two rows.
            let steps = migrator(&["create table once (n int)", "insert into once values (1)"]);
            let schema = if runner % 2 == 0 { "quota" } else { "task" };
            migrate::run(&url, schema, &steps).await
        })
    });
    for run in runs.collect::<Vec<_>>() {
        run.await.unwrap().unwrap();
    }
    for schema in ["quota", "task"] {
        let sql = format!(
            "select (select count(*) from {schema}.once), (select count(*) from {schema}._sqlx_migrations)"
        );
        let found: (i64, i64) = sqlx::query_as(AssertSqlSafe(sql))
            .fetch_one(database.admin())
            .await
            .unwrap();
        assert_eq!(found, (1, 2), "{schema}");
    }
}

#[tokio::test]
async fn an_edited_migration_is_refused_and_a_failing_one_leaves_nothing() {
    let database = TestDatabase::create(&[("quota", &migrator(&["create table a (n int)"]))]).await;
    let edited = migrate::run(&database.url(), "quota", &migrator(&["create table b (n int)"])).await;
    assert!(
        matches!(edited, Err(migrate::Error::Migrate { .. })),
        "{edited:?}"
    );

    let failing = migrator(&["create table a (n int)", "create table c (n int); select 1 / 0"]);
    assert!(migrate::run(&database.url(), "quota", &failing).await.is_err());
    let (found,): (bool,) = sqlx::query_as("select to_regclass('quota.c') is null")
        .fetch_one(database.admin())
        .await
        .unwrap();
    assert!(found);
    // The lock is free again, and the mended migration applies.
    let mended = migrator(&["create table a (n int)", "create table c (n int)"]);
    migrate::run(&database.url(), "quota", &mended).await.unwrap();
    let injected = migrate::run(&database.url(), "quota; drop schema public", &mended).await;
    assert!(matches!(injected, Err(migrate::Error::Schema(_))));
}

#[tokio::test]
async fn a_connection_has_the_name_the_schema_and_the_timeouts_of_its_service() {
    let database = TestDatabase::create(&[("quota", &migrator(&[]))]).await;
    let pool = pool::connect("quota", "quota", &database.pool_config())
        .await
        .unwrap();
    let found: (String, String, String, String) = sqlx::query_as(
        "select current_setting('application_name'), current_setting('search_path'),
                current_setting('statement_timeout'), current_setting('idle_in_transaction_session_timeout')",
    )
    .fetch_one(&pool)
    .await
    .unwrap();
    let expected = ("evenkeel/quota", "quota", "30s", "1min");
    assert_eq!((&*found.0, &*found.1, &*found.2, &*found.3), expected);
}

#[tokio::test]
async fn a_pool_keeps_its_limits_and_tells_who_waits() {
    let database = TestDatabase::create(&[]).await;
    let config = PoolConfig {
        min: 2,
        max: 3,
        acquire_timeout: Duration::from_millis(300),
        ..database.pool_config()
    };
    let gauge = PoolGauge::new("quota", pool::connect("quota", "public", &config).await.unwrap());
    eventually(LONG, || async { gauge.usage().free >= 2 }).await;

    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(gauge.acquire().await.unwrap());
    }
    let waiting = tokio::spawn({
        let gauge = gauge.clone();
        async move { gauge.begin().await.map(drop) }
    });
    eventually(LONG, || async { gauge.usage().pending == 1 }).await;
    let seen = gauge.usage();
    assert_eq!((seen.used, seen.free, seen.max), (3, 0, 3));
    assert!(matches!(waiting.await.unwrap(), Err(sqlx::Error::PoolTimedOut)));
    assert_eq!(gauge.usage().pending, 0);

    let waiting = tokio::spawn({
        let gauge = gauge.clone();
        async move { gauge.begin().await.map(drop) }
    });
    eventually(LONG, || async { gauge.usage().pending == 1 }).await;
    held.clear();
    waiting.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_hundred_callers_at_once_are_served_by_a_small_pool() {
    let database = TestDatabase::create(&[]).await;
    let config = PoolConfig {
        min: 0,
        max: 10,
        ..database.pool_config()
    };
    let pool = pool::connect("quota", "public", &config).await.unwrap();
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { sqlx::query("select pg_sleep(0.01)").execute(&pool).await })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap().unwrap();
    }
    assert!(pool.size() <= 10);
}

#[tokio::test]
async fn connections_that_died_while_idle_are_replaced_without_an_error() {
    let database = TestDatabase::create(&[]).await;
    let config = PoolConfig {
        min: 0,
        max: 1,
        ..database.pool_config()
    };
    let pool = pool::connect("quota", "public", &config).await.unwrap();
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'evenkeel/quota'",
    )
    .execute(database.admin())
    .await
    .unwrap();
    // A connection is tested before use once it was idle for more than one second.
    let begun = Instant::now();
    eventually(LONG, || async { begun.elapsed() > Duration::from_millis(1_100) }).await;
    sqlx::query("select 1").execute(&pool).await.unwrap();
}

#[tokio::test]
async fn a_database_that_is_not_there_is_an_error_at_the_start() {
    let url = format!(
        "postgres://evenkeel:secret@127.0.0.1:{}/postgres",
        test_support::free_port()
    );
    let config = PoolConfig {
        url,
        acquire_timeout: Duration::from_secs(2),
        ..PoolConfig::default()
    };
    let error = pool::connect("quota", "quota", &config).await.unwrap_err();
    assert!(matches!(error, pool::Error::Connect { .. }));
    assert!(
        error.to_string().contains("127.0.0.1") && !error.to_string().contains("secret"),
        "{error}"
    );
}
