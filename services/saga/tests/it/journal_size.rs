//! What a finished saga costs on disk.

use saga_core::{Outcome, Payload};
use saga_engine::Transition;

use crate::journal_support::{Driven, Kind, World, write};

const SAGAS: usize = 5_000;
const BATCH: usize = 50;
/// Stored bytes of a finished saga of four steps with payloads of 100 bytes, indexes included. The message in the outbox
/// is not counted: it goes when it is published.
const MOST_BYTES: i64 = 2_500;

fn hundred_bytes() -> String {
    format!("{{\"text\": \"{}\"}}", "x".repeat(88))
}

fn succeed(saga: &mut Driven) -> Transition {
    let mut transition = saga.answer(Outcome::Succeeded(Payload::new(hundred_bytes())));
    transition.entries[0].request = Some(Payload::new(hundred_bytes()));
    for later in &mut transition.entries[1..] {
        (later.request, later.duration_ms) = (None, None);
    }
    transition
}

#[tokio::test]
async fn a_finished_saga_of_four_steps_takes_at_most_2500_bytes() {
    let world = World::new().await;
    let journal = world.open("host-name-of-usual-length:7440").await;
    let input = hundred_bytes();
    let log = "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::int8";
    let before = world.number(log).await;
    let mut live: Vec<Driven> = Vec::new();
    let (mut started, mut ended) = (0, 0);
    while ended < SAGAS {
        // Sagas in every stage share each batch, as under load.
        let mut batch = Vec::new();
        for saga in &mut live {
            batch.push(succeed(saga));
        }
        live.retain(|saga| !saga.state.phase().is_ended());
        if started < SAGAS {
            for _ in 0..BATCH {
                let saga = world.saga_with(Kind::Pivot, &SagaName::next(), &input);
                batch.push(saga.start());
                live.push(saga);
            }
            started += BATCH;
        }
        write(&journal, batch).await;
        ended = started - live.len();
        // What autovacuum does by itself on a table that is written for longer than these few seconds.
        if started % 500 == 0 {
            sqlx::query("vacuum saga.instance")
                .execute(world.admin())
                .await
                .unwrap();
        }
    }
    let log_bytes = (world.number(log).await - before) / i64::try_from(SAGAS).unwrap();
    let mut total = 0;
    for (table, sql) in [
        ("instance", "select pg_total_relation_size('saga.instance')"),
        ("event", "select pg_total_relation_size('saga.event')"),
        ("saga_keys", "select pg_total_relation_size('saga.saga_keys')"),
        ("outbox", "select pg_total_relation_size('saga.outbox')"),
    ] {
        let bytes = world.number(sql).await / i64::try_from(SAGAS).unwrap();
        println!("{table}: {bytes} bytes a saga");
        if table != "outbox" {
            total += bytes;
        }
    }
    println!("{total} bytes kept, {log_bytes} bytes logged a saga");
    assert!(total <= MOST_BYTES, "{total} bytes");
}

struct SagaName;

impl SagaName {
    /// A business id like those of clients: a random UUID.
    fn next() -> String {
        uuid::Uuid::new_v4().to_string()
    }
}
