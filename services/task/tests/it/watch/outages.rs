//! A database that goes away.

use std::time::Duration;

use ids::UserId;
use proto::task::v1::watch_response::Event;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use test_support::eventually;

use super::{Reader, append, task_of, world};
use crate::world::{DEADLINE, World, simple};

/// Cuts every connection to the test's database, and lets nobody in until it is told to.
struct Server {
    connection: PgConnection,
    database: String,
}

impl Server {
    async fn of(world: &World) -> Self {
        let database = world.db.name().to_owned();
        let url = world.db.url().replace(&database, "postgres");
        Self {
            connection: PgConnection::connect(&url).await.unwrap(),
            database,
        }
    }

    async fn cut(&mut self) {
        sqlx::query("select pg_terminate_backend(pid) from pg_stat_activity where datname = $1")
            .bind(&self.database)
            .execute(&mut self.connection)
            .await
            .unwrap();
    }

    async fn admit(&mut self, anybody: bool) {
        let sql = format!("alter database {} allow_connections {anybody}", self.database);
        sqlx::query(AssertSqlSafe(sql))
            .execute(&mut self.connection)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn streams_go_on_when_connections_are_cut() {
    let world = world().await;
    let process = world.process().await;
    let mut server = Server::of(&world).await;
    let user = UserId::new();
    let task = task_of(&process, user).await.task_id;
    let mut reader = Reader::open(&process, user, Some(0)).await.unwrap();
    for round in 1..=5_u64 {
        server.cut().await;
        // The pool of the test is cut as well.
        let mut conn = eventually(DEADLINE, || async {
            let mut conn = world.pool.acquire().await?;
            sqlx::query("select 1").execute(&mut *conn).await?;
            Ok::<_, sqlx::Error>(conn)
        })
        .await;
        for n in 0..10 {
            let seq = append(&mut conn, user, task).await;
            assert_eq!(seq, (round - 1) * 10 + n + 2);
        }
    }
    assert_eq!(reader.seqs_until(51).await, (1..=51).collect::<Vec<u64>>());
}

#[tokio::test]
async fn streams_outlive_an_outage_of_the_database() {
    let quick = |config: &mut task::Config| config.watch.heartbeat = Duration::from_millis(300);
    let world = World::without_worker(simple(), quick).await;
    let process = world.process().await;
    let mut server = Server::of(&world).await;
    let user = UserId::new();
    let run = task_of(&process, user).await;
    let mut told = Reader::open(&process, user, Some(0)).await.unwrap();
    assert_eq!(told.event().await.unwrap().0, 1);

    server.admit(false).await;
    server.cut().await;
    // This one has to read the table first.
    let mut reading = Reader::open(&process, user, Some(0)).await.unwrap();
    for _ in 0..4 {
        for (reader, seq) in [(&mut told, 1), (&mut reading, 0)] {
            let next = reader.next().await.unwrap();
            assert!(matches!(next.event, Some(Event::Heartbeat(_))), "{next:?}");
            assert_eq!(next.seq, seq);
        }
    }
    server.admit(true).await;
    eventually(DEADLINE, || run.mark_failing()).await;
    assert_eq!(told.seqs_until(2).await, [2]);
    assert_eq!(reading.seqs_until(2).await, [1, 2]);
}
