//! Every notification that ever came, again: in another order, several times.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use sqlx::{AssertSqlSafe, PgPool};
use test_support::eventually;
use tokio::time::{Instant, interval};

use crate::world::World;

/// What may change: every delivery is written down.
const LOG: &str = "billing.notify_receipts";
/// Nothing has changed for so long: events are relayed, and background work has had its turn.
const QUIET: Duration = Duration::from_millis(1_500);
/// And comes to that within this time.
const QUIET_WITHIN: Duration = Duration::from_secs(60);

/// Delivers everything again, and says which tables that has changed besides the log.
pub(crate) async fn replay(world: &World, random: &mut StdRng) -> Vec<String> {
    world.recorder.shut();
    // What no attempt has brought so far, since somebody was away, is brought now, as its provider would.
    let all = world.recorder.told();
    world.recorder.replay(all.clone()).await;
    let before = quiet(&world.db).await;
    let mut again = Vec::new();
    for told in &all {
        again.extend((0..random.random_range(1..=2)).map(|_| told.clone()));
    }
    again.shuffle(random);
    let log = count(&world.db).await;
    let replayed = i64::try_from(again.len()).expect("they are few");
    world.recorder.replay(again).await;
    let after = quiet(&world.db).await;
    let mut changed: Vec<String> = before
        .iter()
        .filter(|(table, digest)| after.get(*table) != Some(digest))
        .map(|(table, _)| format!("the replay of {replayed} notifications has changed {table}"))
        .collect();
    let logged = count(&world.db).await - log;
    // Refusals are written down up to a limit.
    if replayed > 0 && logged == 0 {
        changed.push(format!(
            "{replayed} notifications were replayed, and none was written down"
        ));
    }
    changed
}

/// Waits until nothing changes any more, and returns what every table holds.
pub(crate) async fn quiet(db: &PgPool) -> BTreeMap<String, String> {
    let end = Instant::now() + QUIET_WITHIN;
    let mut looks = interval(QUIET);
    let mut last = BTreeMap::new();
    loop {
        looks.tick().await;
        applied(db).await;
        let now = fingerprint(db).await;
        if now == last || Instant::now() > end {
            return now;
        }
        last = now;
    }
}

/// Waits until every notification that was stored is applied.
async fn applied(db: &PgPool) {
    eventually(QUIET_WITHIN, || async {
        let pending: Result<i64, sqlx::Error> =
            sqlx::query_scalar("select count(*) from billing.notify_inbox where state = 'PENDING'")
                .fetch_one(db)
                .await;
        pending.is_ok_and(|pending| pending == 0)
    })
    .await;
}

/// What every table of billing and quota holds but the log, as a digest.
pub(crate) async fn fingerprint(db: &PgPool) -> BTreeMap<String, String> {
    let tables: Vec<String> = sqlx::query_scalar(
        "select table_schema || '.' || table_name from information_schema.tables
         where table_schema in ('billing', 'quota') and table_type = 'BASE TABLE'",
    )
    .fetch_all(db)
    .await
    .expect("the database answers");
    assert!(tables.iter().any(|table| table == LOG), "{tables:?}");
    let mut digests = BTreeMap::new();
    for table in tables.into_iter().filter(|table| table != LOG) {
        let sql =
            format!("select md5(coalesce(string_agg(t::text, '|' order by t::text), '')) from {table} t");
        let digest: String = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(db)
            .await
            .expect("the database answers");
        digests.insert(table, digest);
    }
    digests
}

async fn count(db: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from billing.notify_receipts")
        .fetch_one(db)
        .await
        .expect("the database answers")
}
