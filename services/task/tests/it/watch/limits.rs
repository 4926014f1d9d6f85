//! Bounds, and how streams end.

use std::time::Duration;

use ids::UserId;
use proto::task::v1 as pb;
use proto::task::v1::watch_response::Event;
use serde_json::json;
use test_support::eventually;
use tonic::{Code, Request, Status};

use super::{Reader, append_many, task_of, world};
use crate::world::{DEADLINE, Process, Run, World, as_user, reason, simple};

#[tokio::test]
async fn a_slow_reader_is_told_so_and_may_resume() {
    let world = World::without_worker(simple(), |config| config.watch.streams_per_user = 1).await;
    let process = world.process().await;
    let user = UserId::new();
    let mut run = Run::new(process.steps.clone());
    run.user_id = user;
    // Large events, so that what the connection itself holds is soon full.
    run.create("simple", json!({ "text": "x".repeat(60_000) }))
        .await
        .unwrap();
    let mut slow = Reader::open(&process, user, Some(0)).await.unwrap();
    assert_eq!(slow.event().await.unwrap().0, 1);

    // Its place is free as soon as it is given up, although it has not noticed.
    let last = eventually(DEADLINE, || async {
        let last = append_many(&world.pool, user, run.task_id, 40).await;
        let other = Reader::open(&process, user, Some(last)).await;
        other.map(|_| last)
    })
    .await;

    let mut seen = 1;
    let status = loop {
        match slow.event().await {
            Ok((seq, _)) => {
                assert_eq!(seq, seen + 1);
                seen = seq;
            }
            Err(status) => break status,
        }
    };
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "WATCH_TOO_SLOW")
    );
    drop(slow);
    let mut again = eventually(DEADLINE, || Reader::open(&process, user, Some(seen))).await;
    let expected: Vec<u64> = (seen + 1..=last).collect();
    assert_eq!(again.seqs_until(last).await, expected);
}

#[tokio::test]
async fn a_user_has_ten_streams_a_process() {
    let world = world().await;
    let process = world.process().await;
    let user = UserId::new();
    let mut readers = Vec::new();
    for _ in 0..10 {
        readers.push(Reader::open(&process, user, Some(0)).await.unwrap());
    }
    let status = Reader::open(&process, user, Some(0)).await.err().unwrap();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "TOO_MANY_WATCHES")
    );
    assert!(Reader::open(&process, UserId::new(), Some(0)).await.is_ok());
    let elsewhere = world.process().await;
    assert!(Reader::open(&elsewhere, user, Some(0)).await.is_ok());
    readers.pop();
    eventually(DEADLINE, || Reader::open(&process, user, Some(0))).await;
    for reader in &mut readers {
        task_of(&process, user).await;
        assert_eq!(reader.event().await.unwrap().0, 1);
    }
}

#[tokio::test]
async fn a_stream_says_that_it_lives() {
    let quick = |config: &mut task::Config| config.watch.heartbeat = Duration::from_millis(200);
    let world = World::without_worker(simple(), quick).await;
    let process = world.process().await;
    let user = UserId::new();
    task_of(&process, user).await;
    let mut reader = Reader::open(&process, user, Some(0)).await.unwrap();
    assert_eq!(reader.event().await.unwrap().0, 1);
    for _ in 0..3 {
        let began = tokio::time::Instant::now();
        let next = reader.next().await.unwrap();
        assert!(matches!(next.event, Some(Event::Heartbeat(beat)) if beat.at.is_some()));
        assert_eq!(next.seq, 1, "that of the last event");
        assert!(
            began.elapsed() >= Duration::from_millis(150),
            "{:?}",
            began.elapsed()
        );
    }
}

#[tokio::test]
async fn a_process_that_ends_sends_its_readers_elsewhere() {
    let world = world().await;
    let (here, there) = (world.process().await, world.process().await);
    let user = UserId::new();
    let task = task_of(&there, user).await.task_id;
    let mut reader = Reader::open(&here, user, Some(0)).await.unwrap();
    assert_eq!(reader.event().await.unwrap().0, 1);
    here.end();
    let status = reader.event().await.unwrap_err();
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::Unavailable, "UNAVAILABLE")
    );
    let refused = Reader::open(&here, user, Some(1)).await.err().unwrap();
    assert_eq!(reason(&refused), "UNAVAILABLE");
    let mut reader = Reader::open(&there, user, Some(1)).await.unwrap();
    append_many(&world.pool, user, task, 1).await;
    assert_eq!(reader.event().await.unwrap().0, 2);
}

/// Opens a stream as somebody, of `user_id`.
async fn watch_as(process: &Process, caller: UserId, user_id: &str) -> Result<pb::WatchResponse, Status> {
    let request = Request::new(pb::WatchRequest {
        user_id: user_id.to_owned(),
        last_seq: None,
    });
    let request = as_user(request, caller);
    let mut stream = process.watch.clone().watch(request).await?.into_inner();
    Ok(stream.message().await?.unwrap())
}

#[tokio::test]
async fn users_watch_themselves_and_nobody_else() {
    let world = world().await;
    let process = world.process().await;
    let user = UserId::new();
    let run = task_of(&process, user).await;
    for named in [String::new(), user.to_string()] {
        let first = watch_as(&process, user, &named).await.unwrap();
        let Some(Event::Snapshot(snapshot)) = first.event else {
            panic!("{first:?}");
        };
        assert_eq!(snapshot.tasks[0].task_id, run.task_id.to_string());
    }
    let (stranger, named) = (UserId::new(), user.to_string());
    let status = watch_as(&process, stranger, &named).await.unwrap_err();
    assert_eq!(reason(&status), "PERMISSION_DENIED");
    let list = Request::new(pb::ListNotificationsRequest {
        user_id: named.clone(),
        ..Default::default()
    });
    let listed = process
        .watch
        .clone()
        .list_notifications(as_user(list, stranger))
        .await;
    assert_eq!(reason(&listed.unwrap_err()), "PERMISSION_DENIED");
    let mark = Request::new(pb::MarkNotificationsReadRequest {
        user_id: named,
        all: true,
        ..Default::default()
    });
    let marked = process
        .watch
        .clone()
        .mark_notifications_read(as_user(mark, stranger))
        .await;
    assert_eq!(reason(&marked.unwrap_err()), "PERMISSION_DENIED");
}

#[tokio::test]
async fn a_service_says_whom_it_watches_for() {
    let world = world().await;
    let process = world.process().await;
    for (user_id, expected) in [
        ("", "INVALID_ARGUMENT"),
        ("task_00000000000000000000000000000000", "INVALID_ID"),
        ("me", "INVALID_ID"),
    ] {
        let request = pb::WatchRequest {
            user_id: user_id.to_owned(),
            last_seq: None,
        };
        let status = process.watch.clone().watch(request).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::InvalidArgument, expected)
        );
    }
}
