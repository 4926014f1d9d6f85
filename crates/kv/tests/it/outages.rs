//! Stores that stop, hang and come back.

use std::time::Duration;

use futures::future::join_all;
use kv::{Config, Error, Kv, Limit};
use test_support::{PrivateRedis, TestDatabase, eventually};
use tokio::time::Instant;

use crate::world::{LONG, MINUTE, key, unused_pool};

const TIMEOUT: Duration = Duration::from_millis(300);
/// A busy machine may take a while to notice that a time is over.
const SLACK: Duration = Duration::from_secs(5);

fn config(redis_url: Option<String>) -> Config {
    Config {
        redis_url,
        timeout: TIMEOUT,
        connections: 4,
    }
}

/// Calls every operation and checks that each says within the time that the store is unavailable.
async fn nothing_answers(kv: &Kv) {
    let limits = [Limit {
        key: key("limit"),
        max: 1,
        window: MINUTE,
    }];
    let key = key("a");
    let begun = Instant::now();
    let (one, two) = tokio::join!(
        async {
            tokio::join!(
                async { kv.get(&key).await.map(drop) },
                kv.put(&key, b"v", MINUTE),
                async { kv.put_if_absent(&key, b"v", MINUTE).await.map(drop) },
                async { kv.replace(&key, b"v", b"w", MINUTE).await.map(drop) },
                async { kv.remove(&key).await.map(drop) },
                async { kv.remove_if(&key, b"v").await.map(drop) },
                async { kv.take(&key).await.map(drop) },
            )
        },
        async {
            tokio::join!(
                async { kv.add(&key, 1, None).await.map(drop) },
                async { kv.put_newer(&key, 1, None, MINUTE).await.map(drop) },
                async { kv.get_versioned(&key).await.map(drop) },
                async { kv.hit(&limits).await.map(drop) },
                kv.begin_rotation(&key, "r0", MINUTE),
                async { kv.rotate(&key, "r0", "r1", MINUTE, MINUTE).await.map(drop) },
            )
        },
    );
    assert!(begun.elapsed() < TIMEOUT + SLACK, "{:?}", begun.elapsed());
    let (a, b, c, d, e, f, g) = one;
    let (h, i, j, k, l, m) = two;
    for (place, result) in [a, b, c, d, e, f, g, h, i, j, k, l, m].into_iter().enumerate() {
        assert!(
            matches!(result, Err(Error::Unavailable(_))),
            "{place}: {result:?}"
        );
    }
}

async fn works_again(kv: &Kv) {
    eventually(LONG, || async { kv.put(&key("again"), b"v", MINUTE).await }).await;
    assert!(kv.replace(&key("again"), b"v", b"w", MINUTE).await.unwrap());
    // Every connection that was cut has been replaced.
    let count = key("count");
    let all = join_all((0..20).map(|_| kv.add(&count, 1, None))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
}

#[tokio::test]
async fn a_redis_that_is_killed_is_unavailable_in_time_and_used_again_when_it_is_back() {
    let mut redis = PrivateRedis::start().await;
    let kv = Kv::open(&config(Some(redis.url())), unused_pool()).unwrap();
    works_again(&kv).await;
    redis.kill().await;
    nothing_answers(&kv).await;
    redis.restart().await;
    assert_eq!(kv.get(&key("again")).await.unwrap(), None, "it came back empty");
    works_again(&kv).await;
}

#[tokio::test]
async fn a_redis_that_hangs_is_unavailable_in_time_and_used_again_when_it_goes_on() {
    let redis = PrivateRedis::start().await;
    let kv = Kv::open(&config(Some(redis.url())), unused_pool()).unwrap();
    works_again(&kv).await;
    redis.pause();
    nothing_answers(&kv).await;
    // More callers than connections, again and again: nobody waits for longer than the time.
    let begun = Instant::now();
    let (a, name) = (key("a"), &kv);
    let all = join_all((0..40).map(|_| name.get(&a))).await;
    assert!(begun.elapsed() < TIMEOUT + SLACK, "{:?}", begun.elapsed());
    assert!(
        all.iter()
            .all(|result| matches!(result, Err(error) if error.is_unavailable()))
    );
    redis.resume();
    works_again(&kv).await;
}

#[tokio::test]
async fn a_store_may_start_before_its_redis() {
    let mut redis = PrivateRedis::start().await;
    redis.stop().await;
    let kv = Kv::open(&config(Some(redis.url())), unused_pool()).unwrap();
    nothing_answers(&kv).await;
    redis.restart().await;
    works_again(&kv).await;
}

#[tokio::test]
async fn a_postgres_that_hangs_is_unavailable_in_time_and_used_again_when_it_goes_on() {
    let database = TestDatabase::create(&[(kv::SCHEMA, &kv::MIGRATOR)]).await;
    let kv = Kv::open(&config(None), database.pool(kv::SCHEMA).await).unwrap();
    works_again(&kv).await;
    let mut lock = database.admin().begin().await.unwrap();
    sqlx::query("lock table kv.entry in access exclusive mode")
        .execute(&mut *lock)
        .await
        .unwrap();
    nothing_answers(&kv).await;
    lock.rollback().await.unwrap();
    works_again(&kv).await;
}

#[tokio::test]
async fn a_postgres_whose_connections_are_cut_is_used_again() {
    let database = TestDatabase::create(&[(kv::SCHEMA, &kv::MIGRATOR)]).await;
    let patient = crate::world::patient();
    let kv = Kv::open(&patient, database.pool(kv::SCHEMA).await).unwrap();
    works_again(&kv).await;
    sqlx::query(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and application_name = 'evenkeel/test'",
    )
    .execute(database.admin())
    .await
    .unwrap();
    works_again(&kv).await;
}

#[test]
fn a_url_that_cannot_be_read_is_not_shown() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    let odd = "redis//user:secret@host".to_owned();
    let error = Kv::open(&config(Some(odd)), unused_pool()).unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    assert!(!format!("{error:?}{error}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_has_just_answered_is_not_asked_whether_it_lives() {
    let redis = PrivateRedis::start().await;
    let kv = Kv::open(&config(Some(redis.url())), unused_pool()).unwrap();
    works_again(&kv).await;
    let before = commands(&redis.url()).await;
    let begun = Instant::now();
    for _ in 0..20 {
        kv.put(&key("a"), b"v", MINUTE).await.unwrap();
    }
    let after = commands(&redis.url()).await;
    // The client of this count sends some itself, the same each time; a second without work would be a reason to ask.
    assert!(
        after - before < 40 || begun.elapsed() > Duration::from_secs(1),
        "{before} {after}"
    );
}

#[tokio::test]
async fn a_redis_that_restarts_unnoticed_costs_each_connection_one_operation_at_most() {
    let mut redis = PrivateRedis::start().await;
    let kv = Kv::open(&config(Some(redis.url())), unused_pool()).unwrap();
    works_again(&kv).await;
    redis.kill().await;
    redis.restart().await;
    let mut lost = 0;
    for _ in 0..20 {
        lost += usize::from(kv.put(&key("a"), b"v", MINUTE).await.is_err());
    }
    assert!(lost <= 4, "{lost}");
    works_again(&kv).await;
}

/// Commands that the server has carried out so far.
async fn commands(url: &str) -> u64 {
    let mut connection = redis::Client::open(url)
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let text: String = redis::cmd("INFO")
        .arg("stats")
        .query_async(&mut connection)
        .await
        .unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("total_commands_processed:"));
    line.unwrap().trim().parse().unwrap()
}
