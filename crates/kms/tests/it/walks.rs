//! Walks over a real Postgres, beside others who write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use kms::rewrap::{Column, Walk};
use kms::{Error, Kms, Place};
use sqlx::PgPool;
use test_support::TestDatabase;

use crate::world::KeyFile;

const COLUMN: Column = Column {
    table: "vault.provider",
    column: "api_key",
    key: "id",
    row: "'provider_' || id",
};

fn text(id: i64) -> String {
    format!("secret {id}")
}

async fn seal(kms: &Kms, id: i64, plain: &str) -> Vec<u8> {
    let row = format!("provider_{id}");
    kms.seal(place(&row), plain.as_bytes()).await.unwrap()
}

fn place(row: &str) -> Place<'_> {
    Place {
        table: COLUMN.table,
        column: COLUMN.column,
        row,
    }
}

struct World {
    database: TestDatabase,
    file: KeyFile,
}

impl World {
    /// A table with rows 1 to `rows`, sealed under version 1; the key file has version 2, which seals.
    async fn new(rows: i64) -> Self {
        let database = TestDatabase::create(&[]).await;
        for sql in [
            "create schema vault",
            "create table vault.provider (id bigint primary key, api_key bytea)",
        ] {
            sqlx::query(sql).execute(database.admin()).await.unwrap();
        }
        let file = KeyFile::new();
        let kms = file.kms();
        for id in 1..=rows {
            insert(database.admin(), id, Some(seal(&kms, id, &text(id)).await)).await;
        }
        file.rotate();
        Self { database, file }
    }

    fn pool(&self) -> PgPool {
        self.database.admin().clone()
    }

    fn walk(&self) -> Walk {
        Walk::new(self.pool(), self.file.kms(), COLUMN).batch(10)
    }

    /// How many fields each version has, lowest first; every field is opened and must say what is expected.
    async fn versions(&self, expected: impl Fn(i64) -> String) -> Vec<(u32, usize)> {
        let kms = self.file.kms();
        let rows: Vec<(i64, Vec<u8>)> =
            sqlx::query_as("select id, api_key from vault.provider where api_key is not null order by id")
                .fetch_all(self.database.admin())
                .await
                .unwrap();
        let mut count = std::collections::BTreeMap::new();
        for (id, sealed) in rows {
            let opened = kms.open(place(&format!("provider_{id}")), &sealed).await.unwrap();
            assert_eq!(opened.as_slice(), expected(id).as_bytes());
            *count.entry(kms.key_of(&sealed).unwrap().version).or_insert(0) += 1;
        }
        count.into_iter().collect()
    }
}

async fn insert(pool: &PgPool, id: i64, sealed: Option<Vec<u8>>) {
    sqlx::query("insert into vault.provider values ($1, $2)")
        .bind(id)
        .bind(sealed)
        .execute(pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_walk_moves_every_field_and_the_next_one_finds_nothing_to_do() {
    let world = World::new(35).await;
    insert(&world.pool(), 100, None).await;
    assert_eq!(world.versions(text).await, [(1, 35)]);
    let mut walk = world.walk();
    let report = walk.run().await.unwrap();
    assert_eq!((report.seen, report.rewrapped, report.current), (35, 35, 0));
    assert!(report.is_clean());
    assert_eq!(world.versions(text).await, [(2, 35)]);
    let mut again = world.walk();
    let report = again.run().await.unwrap();
    assert_eq!((report.seen, report.rewrapped, report.current), (35, 0, 35));
    // A walk that is at its end stays there.
    assert!(again.step().await.unwrap());
    assert_eq!(again.report().seen, 35);
}

#[tokio::test]
async fn a_table_without_rows_is_walked_and_keys_may_be_of_any_type() {
    let world = World::new(0).await;
    assert_eq!(world.walk().run().await.unwrap().seen, 0);
    sqlx::query("create table vault.setting (id uuid primary key, value bytea)")
        .execute(world.database.admin())
        .await
        .unwrap();
    let column = Column {
        table: "vault.setting",
        column: "value",
        key: "id",
        row: "id",
    };
    let old = KeyFile::new();
    let kms = old.kms();
    let ids: Vec<String> =
        sqlx::query_scalar("select gen_random_uuid()::text from generate_series(1, 25) order by 1")
            .fetch_all(world.database.admin())
            .await
            .unwrap();
    for id in &ids {
        let place = Place {
            table: column.table,
            column: column.column,
            row: id,
        };
        sqlx::query("insert into vault.setting values ($1::uuid, $2)")
            .bind(id)
            .bind(kms.seal(place, b"x").await.unwrap())
            .execute(world.database.admin())
            .await
            .unwrap();
    }
    old.rotate();
    let mut walk = Walk::new(world.pool(), old.kms(), column)
        .batch(10)
        .after(&*ids[4]);
    assert_eq!(walk.run().await.unwrap().rewrapped, 20);
    assert_eq!(walk.cursor(), ids.last().map(String::as_str));
}

#[tokio::test]
async fn a_walk_that_is_dropped_in_the_middle_is_continued_or_begun_anew() {
    let world = World::new(60).await;
    let mut walk = world.walk();
    assert!(!walk.step().await.unwrap());
    assert_eq!(walk.cursor(), Some("10"));
    let mut cut = 0;
    // Dropped at ever later points, in the middle of statements too.
    for micros in (0..).step_by(300).take(40) {
        if tokio::time::timeout(Duration::from_micros(micros), walk.step())
            .await
            .is_err()
        {
            cut += 1;
        }
    }
    assert!(cut > 0, "nothing was cut off");
    let cursor = walk.cursor().unwrap().to_owned();
    drop(walk);
    let mut rest = world.walk().after(cursor);
    assert!(rest.run().await.unwrap().is_clean());
    assert_eq!(world.versions(text).await, [(2, 60)]);
    let mut anew = world.walk();
    let report = anew.run().await.unwrap();
    assert_eq!((report.current, report.rewrapped), (60, 0));
}

/// Writers that still seal under the old version, and ones that seal under the new: what they have written last stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_that_others_write_meanwhile_is_lost() {
    let world = World::new(40).await;
    let old = KeyFile::new();
    let new = world.file.kms();
    // A second process that has not read the new file yet: here, one with a key of its own that we open.
    let both = Kms::new(world.file.provider(), vec![old.provider()]);
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4_i64)
        .map(|writer| {
            let (pool, stop) = (world.pool(), Arc::clone(&stop));
            let kms = if writer % 2 == 0 { old.kms() } else { new.clone() };
            tokio::spawn(async move {
                let mut written = std::collections::BTreeMap::new();
                let mut round = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    // Each writer has rows of its own, so that it knows what was written last.
                    let id = i64::try_from(round % 10).unwrap() * 4 + writer + 1;
                    let plain = format!("written {writer} {round}");
                    let sealed = seal(&kms, id, &plain).await;
                    let done = sqlx::query("update vault.provider set api_key = $2 where id = $1")
                        .bind(id)
                        .bind(sealed)
                        .execute(&pool)
                        .await
                        .unwrap();
                    assert_eq!(done.rows_affected(), 1);
                    written.insert(id, plain);
                    round += 1;
                }
                written
            })
        })
        .collect();
    let walk = || Walk::new(world.pool(), both.clone(), COLUMN).batch(7);
    let mut raced_or_moved = 0;
    for _ in 0..20 {
        let mut walk = walk();
        let report = walk.run().await.unwrap();
        assert_eq!((report.seen, report.failed), (40, 0), "{report}");
        raced_or_moved += report.rewrapped + report.raced;
    }
    stop.store(true, Ordering::Relaxed);
    let mut expected = std::collections::BTreeMap::new();
    for writer in writers {
        expected.extend(writer.await.unwrap());
    }
    assert!(raced_or_moved > 40, "the writers were never met");
    // All writers use the new key now, so one walk ends it.
    let mut last = walk();
    assert!(last.run().await.unwrap().is_clean());
    let said = |id: i64| expected.get(&id).cloned().unwrap_or_else(|| text(id));
    assert_eq!(world.versions(said).await, [(2, 40)]);
}

#[tokio::test]
async fn a_locked_row_holds_up_the_walk_and_nobody_else() {
    let world = World::new(10).await;
    let mut writer = world.pool().begin().await.unwrap();
    let mine = seal(&world.file.kms(), 5, "mine").await;
    sqlx::query("update vault.provider set api_key = $1 where id = 5")
        .bind(&mine)
        .execute(&mut *writer)
        .await
        .unwrap();
    let mut walk = world.walk();
    let step = tokio::time::timeout(Duration::from_millis(300), walk.step()).await;
    assert!(step.is_err(), "it went past a locked row");
    // Others write the neighbours meanwhile, at once.
    let neighbour = seal(&world.file.kms(), 6, "theirs").await;
    let write = sqlx::query("update vault.provider set api_key = $1 where id = 6")
        .bind(&neighbour)
        .execute(world.database.admin());
    tokio::time::timeout(Duration::from_secs(5), write)
        .await
        .unwrap()
        .unwrap();
    writer.commit().await.unwrap();
    assert!(walk.run().await.unwrap().is_clean());
    let said = |id| match id {
        5 => "mine".to_owned(),
        6 => "theirs".to_owned(),
        id => text(id),
    };
    assert_eq!(world.versions(said).await, [(2, 10)]);
}

#[tokio::test]
async fn what_cannot_be_opened_is_counted_and_left_alone() {
    let world = World::new(12).await;
    let kms = world.file.kms();
    let stranger = seal(&KeyFile::new().kms(), 3, "x").await;
    let moved = seal(&kms, 1, "x").await;
    for (id, bytes) in [(3, stranger), (4, b"garbage".to_vec())] {
        sqlx::query("update vault.provider set api_key = $2 where id = $1")
            .bind(i64::from(id))
            .bind(bytes)
            .execute(world.database.admin())
            .await
            .unwrap();
    }
    insert(&world.pool(), 13, Some(moved)).await;
    let all = "select array_agg(api_key order by id) from vault.provider where id in (3, 4, 13)";
    let before: Vec<Vec<u8>> = sqlx::query_scalar(all)
        .fetch_one(world.database.admin())
        .await
        .unwrap();
    let mut walk = world.walk();
    let report = walk.run().await.unwrap();
    assert_eq!((report.rewrapped, report.failed), (10, 2), "{report}");
    assert!(!report.is_clean());
    assert!(matches!(
        report.failures.as_slice(),
        [(three, Error::NoKey(_)), (four, Error::Damaged)] if three == "3" && four == "4"
    ));
    let after: Vec<Vec<u8>> = sqlx::query_scalar(all)
        .fetch_one(world.database.admin())
        .await
        .unwrap();
    assert_eq!(before, after);
}

#[tokio::test]
async fn a_walk_that_looks_opens_every_field_and_writes_none() {
    let world = World::new(25).await;
    let kms = world.file.kms();
    insert(&world.pool(), 26, Some(seal(&kms, 26, &text(26)).await)).await;
    insert(&world.pool(), 27, Some(b"rubbish".to_vec())).await;
    // A good field of another row.
    insert(&world.pool(), 28, Some(seal(&kms, 26, "moved").await)).await;
    let rows =
        "select string_agg(id || encode(api_key, 'hex') || xmin::text, ',' order by id) from vault.provider";
    let before: String = sqlx::query_scalar(rows).fetch_one(&world.pool()).await.unwrap();
    let mut walk = world.walk().look();
    let report = walk.run().await.unwrap();
    assert_eq!(
        (
            report.seen,
            report.current,
            report.old,
            report.rewrapped,
            report.failed
        ),
        (28, 1, 25, 0, 2)
    );
    let named: Vec<&str> = report.failures.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(named, ["27", "28"]);
    assert!(!report.is_clean());
    let after: String = sqlx::query_scalar(rows).fetch_one(&world.pool()).await.unwrap();
    assert_eq!(before, after);
}
