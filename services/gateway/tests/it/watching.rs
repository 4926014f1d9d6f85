//! Watching over WebSocket and Server-Sent Events: who may, what comes, where it goes on.

use chrono::{DateTime, Utc};
use http::Extensions;
use ids::UserId;
use proto::task::v1::watch_response::Event;
use proto::task::v1::{Notification, Task, TaskState, WatchResponse, WatchSnapshot};
use rpc::error::Reason;
use rstest::rstest;
use serde_json::json;
use test_support::{eventually, identities};
use token::{Caller, Role, Rule};
use tonic::Status;

use crate::support::{Answer, Call, DEADLINE, World, somebody};
use crate::watcher::{Events, Got, WATCH, Watcher, heartbeat, task};

const TICKETS: &str = "/api/v1/tasks/watch-tickets";

async fn ticket(world: &World, bearer: &str) -> Answer {
    let call = world.call(http::Method::POST, TICKETS);
    let answer = call.with("authorization", bearer).send().await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

fn events(world: &World, query: &str, bearer: &str) -> Call {
    world
        .get(&format!("{WATCH}{query}"))
        .with("authorization", bearer)
}

/// Asks for a WebSocket as a plain request does, to read the refusal.
fn upgrade(call: Call) -> Call {
    call.with("connection", "upgrade")
        .with("upgrade", "websocket")
        .with("sec-websocket-version", "13")
        .with("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

#[tokio::test]
async fn frames_come_as_documented() {
    let world = World::new().await;
    let user = UserId::new();
    let bearer = identities().bearer(user, Role::User);
    let mut watcher = Watcher::open(&world, &bearer).await;
    let stream = world.upstream.stream().await;
    assert_eq!(stream.request.user_id, user.to_string());
    assert_eq!(stream.request.last_seq, None);
    // The gateway asks in its own name.
    let guard = identities().guard("task");
    let caller = guard
        .admit(Rule::Service, "", &stream.metadata, &Extensions::new())
        .await;
    assert!(matches!(caller.unwrap(), Caller::Service { name } if name.as_str() == "gateway"));

    let pending = Task {
        task_id: "task_1".to_owned(),
        state: TaskState::Pending.into(),
        ..Task::default()
    };
    let notice = Notification {
        notification_id: "notification_1".to_owned(),
        title: "订单完成".to_owned(),
        ..Notification::default()
    };
    let all = WatchSnapshot {
        tasks: vec![pending.clone()],
        notifications: vec![notice.clone()],
    };
    let frame = |seq, event| WatchResponse {
        seq,
        event: Some(event),
    };
    stream.send(frame(1, Event::Task(pending))).await;
    stream.send(frame(2, Event::Notification(notice))).await;
    stream.send(frame(3, Event::Snapshot(all))).await;
    stream.send(heartbeat(3)).await;

    let first = watcher.frame().await;
    assert_eq!((&first["type"], &first["seq"]), (&json!("task"), &json!(1)));
    assert_eq!(first["task"]["taskId"], "task_1");
    assert_eq!(first["task"]["status"], "PENDING");
    let second = watcher.frame().await;
    assert_eq!(
        (&second["type"], &second["seq"]),
        (&json!("notification"), &json!(2))
    );
    assert_eq!(second["notification"]["title"], "订单完成");
    let third = watcher.frame().await;
    assert_eq!((&third["type"], &third["seq"]), (&json!("snapshot"), &json!(3)));
    assert_eq!(third["snapshot"]["tasks"][0]["taskId"], "task_1");
    assert_eq!(
        third["snapshot"]["notifications"][0]["notificationId"],
        "notification_1"
    );
    let fourth = watcher.frame().await;
    assert_eq!(
        (&fourth["type"], &fourth["seq"]),
        (&json!("heartbeat"), &json!(3))
    );

    watcher.0.close(None).await.unwrap();
    stream.closed().await;
}

#[tokio::test]
async fn the_same_frames_come_as_server_sent_events() {
    let world = World::new().await;
    let call = events(&world, "", &somebody()).with("accept-encoding", "gzip");
    let mut events = Events::open(call).await;
    assert_eq!(events.header("content-type"), Some("text/event-stream"));
    assert_eq!(events.header("content-encoding"), None);
    assert_eq!(events.header("cache-control"), Some("no-store"));
    assert_eq!(events.header("x-accel-buffering"), Some("no"));
    let stream = world.upstream.stream().await;
    stream.send(heartbeat(0)).await;
    stream.send(task(7)).await;
    let beat = events.next().await.unwrap();
    assert_eq!((beat.id, beat.event.as_str()), (None, "heartbeat"));
    let told = events.next().await.unwrap();
    assert_eq!((told.id.as_deref(), told.event.as_str()), (Some("7"), "task"));
    assert_eq!(
        (&told.data["type"], &told.data["seq"]),
        (&json!("task"), &json!(7))
    );
    assert_eq!(told.data["task"]["taskId"], "task_7");
    drop(events);
    stream.closed().await;
}

#[tokio::test]
async fn a_ticket_opens_one_watch() {
    let world = World::new().await;
    let user = UserId::new();
    let given = ticket(&world, &identities().bearer(user, Role::User))
        .await
        .json();
    let text = given["ticket"].as_str().unwrap();
    let query = format!("?ticket={text}");
    let mut watcher = Watcher::at(&world, &query, None).await;
    let stream = world.upstream.stream().await;
    assert_eq!(stream.request.user_id, user.to_string());
    stream.send(task(1)).await;
    assert_eq!(watcher.frame().await["seq"], 1);

    let path = format!("{WATCH}{query}");
    for call in [world.get(&path), upgrade(world.get(&path))] {
        let again = call.send().await;
        again.expect_reason("WATCH_TICKET_INVALID");
        assert_eq!(again.status, 401);
    }
    for wrong in ["", "x", "%FF", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let call = world.get(&format!("{WATCH}?ticket={wrong}"));
        call.send().await.expect_reason("WATCH_TICKET_INVALID");
    }
    assert_eq!(world.upstream.streams_waiting().await, 0);
}

#[tokio::test]
async fn a_ticket_is_good_for_a_moment_only() {
    let world = World::with(|config| config.watch.ticket_life = std::time::Duration::from_secs(1)).await;
    let given = ticket(&world, &somebody()).await.json();
    let expires_at = given["expiresAt"].as_str().unwrap();
    let expires_at: DateTime<Utc> = expires_at.parse().unwrap();
    eventually(DEADLINE, || async { Utc::now() > expires_at }).await;
    let path = format!("{WATCH}?ticket={}", given["ticket"].as_str().unwrap());
    world
        .get(&path)
        .send()
        .await
        .expect_reason("WATCH_TICKET_INVALID");
}

#[tokio::test]
async fn tickets_are_for_users() {
    let world = World::new().await;
    let ask = |body: &'static str| world.post(TICKETS, body);
    ask("").send().await.expect_reason("UNAUTHENTICATED");
    let bearer = somebody();
    let odd = ask(r#"{"a":1}"#).with("authorization", &bearer).send().await;
    odd.expect_reason("INVALID_ARGUMENT");
    assert_eq!(ask("{}").with("authorization", &bearer).send().await.status, 200);
    let now = std::time::SystemTime::now();
    let service = identities()
        .credentials("task")
        .token(&"gateway".parse().unwrap(), now);
    let service = ask("{}").with("authorization", format!("Bearer {service}"));
    service.send().await.expect_reason("TOKEN_INVALID");
    world.get(WATCH).send().await.expect_reason("UNAUTHENTICATED");
}

#[rstest]
#[case::nothing("", None, None)]
#[case::the_query("?last_seq=5", None, Some(5))]
#[case::the_other_spelling("?lastSeq=6", None, Some(6))]
#[case::the_header("", Some("7"), Some(7))]
#[case::the_header_before_the_query("?last_seq=5", Some("9"), Some(9))]
#[tokio::test]
async fn a_watch_goes_on_where_the_client_says(
    #[case] query: &str,
    #[case] header: Option<&str>,
    #[case] expected: Option<u64>,
) {
    let world = World::new().await;
    let call = events(&world, query, &somebody());
    let call = match header {
        Some(seq) => call.with("last-event-id", seq),
        None => call,
    };
    let _events = Events::open(call).await;
    assert_eq!(world.upstream.stream().await.request.last_seq, expected);
}

#[tokio::test]
async fn a_watch_that_cannot_be_understood_is_refused() {
    let world = World::new().await;
    let bearer = somebody();
    for query in [
        "?last_seq=x",
        "?last_seq=-1",
        "?last_seq=1&last_seq=2",
        "?last_sec=1",
        "?last_seq=",
    ] {
        let answer = events(&world, query, &bearer).send().await;
        answer.expect_reason("INVALID_ARGUMENT");
    }
    let odd = events(&world, "", &bearer).with("last-event-id", "x");
    odd.send().await.expect_reason("INVALID_ARGUMENT");
    // Asks for an upgrade, but to something else, or without a key; its ticket is not spent.
    let given = ticket(&world, &bearer).await.json();
    let query = format!("?ticket={}", given["ticket"].as_str().unwrap());
    let path = format!("{WATCH}{query}");
    let odd = world
        .get(&path)
        .with("connection", "upgrade")
        .with("upgrade", "websocket");
    odd.send().await.expect_reason("INVALID_ARGUMENT");
    assert_eq!(world.upstream.streams_waiting().await, 0);
    let mut watcher = Watcher::at(&world, &query, None).await;
    world.upstream.stream().await.send(task(1)).await;
    assert_eq!(watcher.frame().await["seq"], 1);
}

#[tokio::test]
async fn a_stream_that_breaks_is_taken_up_where_it_was_without_loss_or_doubling() {
    let world = World::new().await;
    let mut watcher = Watcher::at(&world, "?last_seq=10", Some(&somebody())).await;
    let first = world.upstream.stream().await;
    assert_eq!(first.request.last_seq, Some(10));
    first.send(task(11)).await;
    first.send(task(12)).await;
    assert_eq!(watcher.frame().await["seq"], 11);
    assert_eq!(watcher.frame().await["seq"], 12);
    // What passes: the service restarts, and then still counts the stream that broke.
    world.upstream.refuse_streams([
        Status::unavailable("starting"),
        Reason::TooManyWatches.status("task.evenkeel", "8 are open"),
    ]);
    first.fail(Status::unavailable("going away")).await;
    let second = world.upstream.stream().await;
    assert_eq!(second.request.last_seq, Some(12));
    second.send(task(13)).await;
    assert_eq!(watcher.frame().await["seq"], 13);
    // A stream that ends in good order is as good as broken.
    drop(second);
    let third = world.upstream.stream().await;
    assert_eq!(third.request.last_seq, Some(13));
    third.send(task(14)).await;
    assert_eq!(watcher.frame().await["seq"], 14);
}

#[tokio::test]
async fn a_refusal_of_the_task_service_is_passed_on() {
    let world = World::new().await;
    let refusal = Reason::TooManyWatches.status("task.evenkeel", "8 are open");
    world.upstream.refuse_streams([refusal]);
    let answer = upgrade(events(&world, "", &somebody())).send().await;
    answer.expect_reason("TOO_MANY_WATCHES");
    assert_eq!(answer.json()["domain"], "task.evenkeel");
}

#[tokio::test]
async fn a_feed_that_is_refused_later_ends_the_watch() {
    let world = World::new().await;
    let mut watcher = Watcher::open(&world, &somebody()).await;
    let stream = world.upstream.stream().await;
    let refusal = Reason::PermissionDenied.status("task.evenkeel", "not you");
    world.upstream.refuse_streams([refusal]);
    stream.fail(Status::unavailable("going away")).await;
    assert_eq!(watcher.next().await, Got::end(1013, "UNAVAILABLE"));
}

#[tokio::test]
async fn pages_of_other_sites_do_not_watch() {
    const SITE: &str = "https://app.example.com";
    let world = World::with(|config| config.origins = vec![SITE.to_owned()]).await;
    let bearer = somebody();
    for origin in ["https://evil.example.com", "null", "http://app.example.com", "x"] {
        for call in [events(&world, "", &bearer), upgrade(events(&world, "", &bearer))] {
            let answer = call.with("origin", origin).send().await;
            answer.expect_reason("ORIGIN_NOT_ALLOWED");
            assert_eq!(answer.status, 403);
        }
    }
    assert_eq!(world.upstream.streams_waiting().await, 0);
    let own = format!("http://{}", world.addr);
    for origin in [SITE, &own] {
        let call = events(&world, "", &bearer).with("origin", origin);
        Events::open(call).await;
        world.upstream.stream().await;
    }
}

#[tokio::test]
async fn a_user_has_so_many_watches_and_the_gateway_so_many() {
    let world = World::with(|config| {
        config.watch.max_per_user = 2;
        config.watch.max = 3;
    })
    .await;
    let (one, other) = (somebody(), somebody());
    let first = Watcher::open(&world, &one).await;
    let _second = Events::open(events(&world, "", &one)).await;
    let third = events(&world, "", &one).send().await;
    third.expect_reason("TOO_MANY_WATCHES");
    assert_eq!(third.status, 429);
    let _others = Watcher::open(&world, &other).await;
    let fourth = upgrade(events(&world, "", &other)).send().await;
    fourth.expect_reason("TOO_MANY_WATCHES");
    drop(first);
    let open = || async {
        let response = events(&world, "", &other).open().await;
        (response.status() == 200).then_some(response)
    };
    eventually(DEADLINE, open).await;
}
