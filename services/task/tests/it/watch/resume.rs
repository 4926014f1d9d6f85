//! Readers who come back.

use ids::UserId;
use proto::task::v1::watch_response::Event;

use super::{Reader, append_many, task_of, world};

#[tokio::test]
async fn a_reader_that_comes_back_at_any_point_misses_nothing() {
    let world = world().await;
    let process = world.process().await;
    let user = UserId::new();
    let task = task_of(&process, user).await.task_id;
    // More than two pages of the table.
    let last = append_many(&world.pool, user, task, 119).await;
    for seen in 0..=last {
        let mut reader = Reader::open(&process, user, Some(seen)).await.unwrap();
        let expected: Vec<u64> = (seen + 1..=last).collect();
        if !expected.is_empty() {
            assert_eq!(reader.seqs_until(last).await, expected, "after {seen}");
        }
    }
    // From the table into what comes live, without a seam.
    let mut reader = Reader::open(&process, user, Some(last - 70)).await.unwrap();
    let writer = {
        let pool = world.pool.clone();
        tokio::spawn(async move { append_many(&pool, user, task, 50).await })
    };
    let expected: Vec<u64> = (last - 69..=last + 50).collect();
    assert_eq!(reader.seqs_until(last + 50).await, expected);
    assert_eq!(writer.await.unwrap(), last + 50);
}

#[tokio::test]
async fn a_reader_that_reconnects_all_the_time_misses_nothing() {
    let world = world().await;
    let (here, there) = (world.process().await, world.process().await);
    let user = UserId::new();
    let task = task_of(&here, user).await.task_id;
    let writer = {
        let pool = world.pool.clone();
        tokio::spawn(async move { append_many(&pool, user, task, 300).await })
    };
    let mut seen = 0;
    let mut turn = 0_u64;
    while seen < 301 {
        let process = if turn.is_multiple_of(2) { &here } else { &there };
        turn += 1;
        let mut reader = Reader::open(process, user, Some(seen)).await.unwrap();
        for _ in 0..(turn % 23) + 1 {
            if seen == 301 {
                break;
            }
            let (seq, _) = reader.event().await.unwrap();
            assert_eq!(seq, seen + 1);
            seen = seq;
        }
    }
    writer.await.unwrap();
}

#[tokio::test]
async fn a_reader_that_cannot_go_on_begins_with_a_snapshot() {
    let world = world().await;
    let process = world.process().await;
    let user = UserId::new();
    let (ended, open) = (task_of(&process, user).await, task_of(&process, user).await);
    ended.mark_failing().await.unwrap();
    ended.finish("REFUSED").await.unwrap();
    let last = append_many(&world.pool, user, open.task_id, 6).await;
    sqlx::query("delete from feed where user_id = $1 and seq <= 5")
        .bind(user.uuid())
        .execute(&world.pool)
        .await
        .unwrap();
    for (why, last_seq) in [
        ("nothing was seen", None),
        ("what follows is gone", Some(0)),
        ("what follows is gone", Some(4)),
        ("it has not happened", Some(last + 1)),
        ("it never will", Some(u64::MAX)),
    ] {
        let mut reader = Reader::open(&process, user, last_seq).await.unwrap();
        let (seq, event) = reader.event().await.unwrap();
        assert_eq!(seq, last, "{why}");
        let Event::Snapshot(snapshot) = event else {
            panic!("{why}: {event:?}");
        };
        let shown: Vec<&str> = snapshot.tasks.iter().map(|task| task.task_id.as_str()).collect();
        let expected = [open.task_id.to_string(), ended.task_id.to_string()];
        assert_eq!(shown, expected, "{why}");
    }
    let mut reader = Reader::open(&process, user, Some(5)).await.unwrap();
    assert_eq!(reader.event().await.unwrap().0, 6, "the oldest that is kept");

    // After a snapshot it goes on like any other.
    let mut reader = Reader::open(&process, user, None).await.unwrap();
    assert!(matches!(reader.event().await.unwrap(), (seq, Event::Snapshot(_)) if seq == last));
    open.mark_failing().await.unwrap();
    assert!(matches!(reader.event().await.unwrap(), (seq, Event::Task(_)) if seq == last + 1));
}
