//! A walk over a real Postgres whose keys are in the service.

use doubles::kms::Behaviour;
use kms::rewrap::{Column, Error, Walk};
use kms::{Kms, Place};
use sqlx::PgPool;
use test_support::TestDatabase;

use super::world::{SECRET, handle, service};

const COLUMN: Column = Column {
    table: "public.provider",
    column: "api_key",
    key: "id",
    row: "id",
};

fn place(row: &str) -> Place<'_> {
    Place {
        table: COLUMN.table,
        column: COLUMN.column,
        row,
    }
}

async fn filled(database: &TestDatabase, kms: &Kms, rows: i32) -> PgPool {
    let pool = database.admin().clone();
    sqlx::query("create table public.provider (id int primary key, api_key bytea)")
        .execute(&pool)
        .await
        .unwrap();
    for id in 1..=rows {
        sqlx::query("insert into public.provider values ($1, $2)")
            .bind(id)
            .bind(kms.seal(place(&id.to_string()), SECRET).await.unwrap())
            .execute(&pool)
            .await
            .unwrap();
    }
    pool
}

async fn names(pool: &PgPool, kms: &Kms) -> Vec<String> {
    let rows: Vec<(i32, Vec<u8>)> = sqlx::query_as("select id, api_key from public.provider order by id")
        .fetch_all(pool)
        .await
        .unwrap();
    let mut names = Vec::new();
    for (id, sealed) in rows {
        let opened = kms.open(place(&id.to_string()), &sealed).await.unwrap();
        assert_eq!(opened.as_slice(), SECRET);
        names.push(kms.key_of(&sealed).unwrap().name);
    }
    names.dedup();
    names
}

#[tokio::test]
async fn a_walk_stops_while_the_service_is_away_and_goes_on_after_it() {
    let (double, database) = (service().await, TestDatabase::create(&[]).await);
    let pool = filled(&database, &handle(&double, double.key_id()), 30).await;
    let next = double.create_key();
    let kms = handle(&double, &next);
    let mut walk = Walk::new(pool.clone(), kms.clone(), COLUMN).batch(10);
    assert!(!walk.step().await.unwrap());
    double.program(vec![Behaviour::Status(503); 40]);
    let stopped = walk.run().await.unwrap_err();
    assert!(
        matches!(stopped, Error::Keys(kms::Error::Unavailable(_))),
        "{stopped:?}"
    );
    assert_eq!(walk.cursor(), Some("10"));
    double.program(Vec::new());
    let report = walk.run().await.unwrap();
    assert_eq!((report.seen, report.failed, report.raced), (30, 0, 0), "{report}");
    assert_eq!(names(&pool, &handle(&double, &next)).await, [next]);
}

#[tokio::test]
async fn rows_of_a_disabled_key_are_counted_and_do_not_stop_the_others() {
    let (double, database) = (service().await, TestDatabase::create(&[]).await);
    let pool = filled(&database, &handle(&double, double.key_id()), 5).await;
    let lost = handle(&double, &double.create_key());
    sqlx::query("update public.provider set api_key = $1 where id = 3")
        .bind(lost.seal(place("3"), SECRET).await.unwrap())
        .execute(&pool)
        .await
        .unwrap();
    assert!(double.set_enabled(&lost.current().name, false));
    let mut walk = Walk::new(pool, handle(&double, &double.create_key()), COLUMN);
    let report = walk.run().await.unwrap();
    assert_eq!((report.rewrapped, report.failed), (4, 1), "{report}");
    assert!(matches!(
        report.failures.as_slice(),
        [(row, kms::Error::Refused(_))] if row == "3"
    ));
}

#[tokio::test]
async fn a_refreshing_walk_renews_what_the_service_has_rotated() {
    let (double, database) = (service().await, TestDatabase::create(&[]).await);
    let kms = handle(&double, double.key_id());
    let pool = filled(&database, &kms, 15).await;
    assert!(double.rotate(double.key_id()));
    let walk = || Walk::new(pool.clone(), kms.clone(), COLUMN).batch(10);
    assert_eq!(walk().run().await.unwrap().rewrapped, 0);
    assert_eq!(walk().refresh().run().await.unwrap().rewrapped, 15);
    assert_eq!(walk().refresh().run().await.unwrap().rewrapped, 0);
    let fresh = handle(&double, double.key_id());
    assert_eq!(names(&pool, &fresh).await, [double.key_id()]);
}
