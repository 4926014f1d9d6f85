//! Every event once, in order, whoever writes it and wherever it is read.

use futures::future::join_all;
use ids::UserId;
use proto::task::v1::TaskState;
use proto::task::v1::watch_response::Event;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde_json::json;

use super::{Reader, append, task_of, world};
use crate::world::{World, simple};

#[tokio::test]
async fn a_task_is_told_from_its_creation_to_its_end() {
    let world = World::without_worker(simple(), |_| {}).await;
    let process = world.process().await;
    let user = UserId::new();
    let mut reader = Reader::open(&process, user, None).await.unwrap();
    let (seq, first) = reader.event().await.unwrap();
    assert!(matches!(first, Event::Snapshot(s) if s.tasks.is_empty()));
    assert_eq!(seq, 0);

    let run = task_of(&process, user).await;
    run.run_pipeline().await.unwrap();
    let result = run.end().await.unwrap();
    run.complete(&result).await.unwrap();

    // Created, begun, two steps, completed.
    let mut last = None;
    for wanted in 1..=5 {
        let (seq, event) = reader.event().await.unwrap();
        assert_eq!(seq, wanted);
        let Event::Task(task) = event else {
            panic!("{event:?}");
        };
        assert_eq!(task.task_id, run.task_id.to_string());
        last = Some(task);
    }
    let last = last.unwrap();
    assert_eq!((last.state(), last.steps_done), (TaskState::Completed, 2));
    assert!(last.result.is_some());
}

#[tokio::test]
async fn a_task_that_unwinds_is_told_in_every_state() {
    let world = world().await;
    let process = world.process().await;
    let user = UserId::new();
    let run = task_of(&process, user).await;
    run.mark_failing().await.unwrap();
    run.finish("CANCELLED").await.unwrap();
    // Repeated calls change nothing, so there is nothing to tell.
    run.mark_failing().await.unwrap();
    run.finish("CANCELLED").await.unwrap();
    let mut reader = Reader::open(&process, user, Some(0)).await.unwrap();
    assert_eq!(reader.seqs_until(3).await, [1, 2, 3]);
    let stored = super::kept(&world.pool, user.uuid()).await;
    assert_eq!(stored, [1, 2, 3]);
}

/// Writers in two processes' pools, transactions that overlap, some of them long, a third of them rolled back; each user is
/// read by streams of both processes from the beginning.
#[tokio::test]
async fn every_stream_is_complete_and_in_order_under_parallel_writers() {
    const USERS: usize = 4;
    const WRITERS: u64 = 8;
    const TRANSACTIONS: usize = 30;
    let world = world().await;
    let (here, there) = (world.process().await, world.process().await);
    let users: Vec<UserId> = (0..USERS).map(|_| UserId::new()).collect();
    let mut tasks = Vec::new();
    let mut readers = Vec::new();
    for user in &users {
        tasks.push(task_of(&here, *user).await.task_id);
        readers.push(Reader::open(&here, *user, Some(0)).await.unwrap());
        readers.push(Reader::open(&there, *user, Some(0)).await.unwrap());
    }
    let pools = [
        world.db.pool(task::SCHEMA).await,
        world.db.pool(task::SCHEMA).await,
    ];
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let writers = (0..WRITERS).map(|n| {
        let pool = pools[usize::try_from(n).unwrap() % pools.len()].clone();
        let (users, tasks) = (users.clone(), tasks.clone());
        let mut dice = StdRng::seed_from_u64(seed.wrapping_add(n));
        tokio::spawn(async move {
            for _ in 0..TRANSACTIONS {
                let mut tx = pool.begin().await.unwrap();
                let who = dice.random_range(0..USERS);
                for _ in 0..dice.random_range(1..=3) {
                    append(&mut tx, users[who], tasks[who]).await;
                }
                let pause = f64::from(dice.random_range(0..8)) / 1_000.0;
                sqlx::query("select pg_sleep($1)")
                    .bind(pause)
                    .execute(&mut *tx)
                    .await
                    .unwrap();
                if dice.random_ratio(1, 3) {
                    tx.rollback().await.unwrap();
                } else {
                    tx.commit().await.unwrap();
                }
            }
        })
    });
    // One that has begun before all others and commits after them: its event is the last one of its user.
    let late = UserId::new();
    let late_task = task_of(&here, late).await.task_id;
    let mut late_reader = Reader::open(&there, late, Some(1)).await.unwrap();
    let mut long = pools[0].begin().await.unwrap();
    let late_seq = append(&mut long, late, late_task).await;
    for writer in join_all(writers).await {
        writer.unwrap();
    }
    long.commit().await.unwrap();
    assert_eq!(late_reader.seqs_until(late_seq).await, [2]);

    for (n, reader) in readers.iter_mut().enumerate() {
        let user = users[n / 2].uuid();
        let last: i64 = sqlx::query_scalar("select last_seq from feed_head where user_id = $1")
            .bind(user)
            .fetch_one(&world.pool)
            .await
            .unwrap();
        assert!(last > 1, "somebody wrote to every user");
        let expected: Vec<u64> = (1..=u64::try_from(last).unwrap()).collect();
        assert_eq!(reader.seqs_until(*expected.last().unwrap()).await, expected);
    }
}

#[tokio::test]
async fn what_one_process_commits_is_told_by_another() {
    let world = world().await;
    let (here, there) = (world.process().await, world.process().await);
    let user = UserId::new();
    let mut reader = Reader::open(&there, user, Some(0)).await.unwrap();
    let run = task_of(&here, user).await;
    let (seq, event) = reader.event().await.unwrap();
    assert!(matches!(event, Event::Task(task) if task.task_id == run.task_id.to_string()));
    assert_eq!(seq, 1);
    let other = task_of(&here, UserId::new()).await;
    run.mark_failing().await.unwrap();
    other.mark_failing().await.unwrap();
    assert_eq!(reader.seqs_until(2).await, [2], "nothing of others");
}

#[tokio::test]
async fn steps_of_a_pipeline_are_told_as_they_are_done() {
    let slow = json!({ "steps": crate::world::feature(json!([
        { "name": "A", "kind": "transform", "output": 1 },
        { "name": "PAUSE", "kind": "delay", "for": "200ms" },
    ])) });
    let world = World::without_worker(slow, |_| {}).await;
    let process = world.process().await;
    let user = UserId::new();
    let mut reader = Reader::open(&process, user, Some(0)).await.unwrap();
    let mut run = crate::world::Run::new(process.steps.clone());
    run.user_id = user;
    run.create("steps", json!({})).await.unwrap();
    run.run_pipeline().await.unwrap();
    let mut done = Vec::new();
    for _ in 0..4 {
        let (_, event) = reader.event().await.unwrap();
        let Event::Task(task) = event else {
            panic!("{event:?}");
        };
        done.push(task.steps_done);
    }
    assert!(done.is_sorted(), "{done:?}");
    assert!(
        done.contains(&1),
        "the first step is told before the second is done: {done:?}"
    );
    assert_eq!(done.last(), Some(&2));
}
