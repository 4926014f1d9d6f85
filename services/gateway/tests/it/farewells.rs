//! How watches end, and what the watcher is told.

use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use ids::UserId;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::raw::Raw;
use crate::support::{World, believed_for, somebody, within};
use crate::upstream::Opened;
use crate::watcher::{Events, Got, WATCH, Watcher, large_task, task};

/// More than the sockets between the gateway and a client hold, in some frames.
const FRAME_BYTES: usize = 1024 * 1024;

/// Sends large frames until the gateway does not want them any more.
async fn flood(stream: &Opened) {
    for seq in 1.. {
        let more = stream.try_send(large_task(seq, FRAME_BYTES));
        if !within("the gateway takes frames or ends", more).await {
            return;
        }
    }
}

async fn small_buffers() -> World {
    World::with(|config| {
        config.watch.buffer_messages = 2;
        config.watch.write_timeout = Duration::from_millis(200);
    })
    .await
}

#[tokio::test]
async fn a_slow_websocket_is_sent_away_and_the_others_go_on() {
    let world = small_buffers().await;
    let mut slow = Watcher::open(&world, &somebody()).await;
    let slow_stream = world.upstream.stream().await;
    let mut other = Watcher::open(&world, &somebody()).await;
    let other_stream = world.upstream.stream().await;
    other_stream.send(task(1)).await;
    assert_eq!(other.frame().await["seq"], 1);
    flood(&slow_stream).await;
    assert_eq!(slow.end().await, Got::end(4008, "WATCH_TOO_SLOW"));
    other_stream.send(task(2)).await;
    assert_eq!(other.frame().await["seq"], 2);
}

#[tokio::test]
async fn a_slow_event_source_is_sent_away_and_the_others_go_on() {
    let world = small_buffers().await;
    let watch = || world.get(WATCH).with("authorization", somebody());
    let mut slow = Events::open(watch()).await;
    let slow_stream = world.upstream.stream().await;
    let mut other = Events::open(watch()).await;
    let other_stream = world.upstream.stream().await;
    flood(&slow_stream).await;
    let mut last = None;
    while let Some(event) = slow.next().await {
        last = Some(event);
    }
    let last = last.unwrap();
    assert_eq!(last.event, "close");
    assert_eq!(
        last.data,
        serde_json::json!({"code": 4008, "reason": "WATCH_TOO_SLOW"})
    );
    other_stream.send(task(2)).await;
    assert_eq!(other.next().await.unwrap().id.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_client_that_takes_nothing_at_all_loses_its_connection() {
    let world = World::with(|config| {
        config.write_timeout = Duration::from_secs(1);
        config.max_connections = 1;
    })
    .await;
    let mut stuck = Raw::connect(world.addr).await;
    let head = format!(
        "GET {WATCH} HTTP/1.1\r\nhost: x\r\nauthorization: {}\r\n\r\n",
        somebody()
    );
    stuck.write(head).await;
    flood(&world.upstream.stream().await).await;
    // There is one place for connections, and it is free again.
    world.get("/x").send().await.expect_reason("ROUTE_NOT_FOUND");
}

#[tokio::test]
async fn a_watch_ends_with_its_token() {
    let world = World::new().await;
    let bearer = believed_for(UserId::new(), 3);
    let mut socket = Watcher::open(&world, &bearer).await;
    let mut events = Events::open(world.get(WATCH).with("authorization", &bearer)).await;
    assert_eq!(socket.next().await, Got::end(4001, "TOKEN_EXPIRED"));
    let told = events.next().await.unwrap();
    assert_eq!(told.event, "close");
    assert_eq!(
        told.data,
        serde_json::json!({"code": 4001, "reason": "TOKEN_EXPIRED"})
    );
    assert_eq!(events.next().await, None);
    for _ in 0..2 {
        world.upstream.stream().await.closed().await;
    }
}

#[tokio::test]
async fn a_client_that_talks_too_much_is_sent_away() {
    let world = World::new().await;
    let mut watcher = Watcher::open(&world, &somebody()).await;
    // Some of it is borne.
    watcher.say(Message::text("hello")).await;
    let stream = world.upstream.stream().await;
    stream.send(task(1)).await;
    assert_eq!(watcher.frame().await["seq"], 1);
    for _ in 0..100 {
        watcher.say(Message::text("hello")).await;
    }
    assert_eq!(watcher.next().await, Got::end(1008, "INVALID_ARGUMENT"));
    stream.closed().await;
}

#[tokio::test]
async fn a_client_that_sends_a_message_which_is_too_large_is_sent_away() {
    let world = World::new().await;
    let mut watcher = Watcher::open(&world, &somebody()).await;
    let stream = world.upstream.stream().await;
    watcher.say(Message::binary(vec![0; 5000])).await;
    assert_eq!(watcher.next().await, Got::end(1008, "INVALID_ARGUMENT"));
    stream.closed().await;
}

#[tokio::test]
async fn a_client_that_sends_without_end_is_not_read_to_the_end() {
    let world = World::new().await;
    let mut watcher = Watcher::open(&world, &somebody()).await;
    let stream = world.upstream.stream().await;
    // More than the sockets hold; a reset may overtake the farewell.
    watcher.say(Message::text("x".repeat(20_000_000))).await;
    watcher.end().await;
    stream.closed().await;
}

#[tokio::test]
async fn bytes_that_are_no_frames_end_a_watch() {
    use tokio::io::AsyncWriteExt as _;
    let world = World::new().await;
    let mut watcher = Watcher::open(&world, &somebody()).await;
    let stream = world.upstream.stream().await;
    let socket = watcher.0.get_mut();
    socket.write_all(&[0xff; 64]).await.unwrap();
    stream.closed().await;
    assert_eq!(watcher.end().await, Got::end(1008, "INVALID_ARGUMENT"));
}

#[tokio::test]
async fn a_client_from_which_nothing_is_heard_is_given_up() {
    let world = World::with(|config| config.watch.silence = Duration::from_secs(1)).await;
    // Reads nothing, and so answers no ping.
    let _silent = Watcher::open(&world, &somebody()).await;
    let silent_stream = world.upstream.stream().await;
    let mut lively = Watcher::open(&world, &somebody()).await;
    let lively_stream = world.upstream.stream().await;
    let reading = tokio::spawn(async move {
        let first = lively.frame().await;
        (lively, first)
    });
    silent_stream.closed().await;
    lively_stream.send(task(1)).await;
    let (_lively, frame) = within("the lively one is served", reading).await.unwrap();
    assert_eq!(frame["seq"], 1);
}

#[tokio::test]
async fn a_client_that_vanishes_frees_its_stream() {
    let world = World::new().await;
    let watcher = Watcher::open(&world, &somebody()).await;
    let stream = world.upstream.stream().await;
    drop(watcher);
    stream.closed().await;
    let events = Events::open(world.get(WATCH).with("authorization", somebody())).await;
    let stream = world.upstream.stream().await;
    drop(events);
    stream.closed().await;
}

#[tokio::test]
async fn watchers_are_told_to_come_back_when_the_gateway_ends() {
    let mut world = World::new().await;
    let mut socket = Watcher::open(&world, &somebody()).await;
    let mut events = Events::open(world.get(WATCH).with("authorization", somebody())).await;
    world.shutdown.trigger();
    assert_eq!(socket.next().await, Got::end(1001, "UNAVAILABLE"));
    let told = events.next().await.unwrap();
    assert_eq!(told.event, "close");
    assert_eq!(
        told.data,
        serde_json::json!({"code": 1001, "reason": "UNAVAILABLE"})
    );
    assert_eq!(events.next().await, None);
    let _ = socket.0.close(None).await;
    world.ended().await;
}

#[tokio::test]
async fn a_websocket_goes_over_http_2_as_well() {
    let world = World::new().await;
    let stream = TcpStream::connect(world.addr).await.unwrap();
    let io = TokioIo::new(stream);
    let opening = hyper::client::conn::http2::handshake(TokioExecutor::new(), io);
    let (mut sender, connection) = opening.await.unwrap();
    tokio::spawn(connection);
    let request = http::Request::connect(format!("http://{}{WATCH}", world.addr))
        .extension(hyper::ext::Protocol::from_static("websocket"))
        .header("sec-websocket-version", "13")
        .header("authorization", somebody())
        .body(axum::body::Body::empty())
        .unwrap();
    // Whether the server takes such requests is in its settings, which come with the first answer.
    let plain = http::Request::get(format!("http://{}/x", world.addr));
    let plain = plain.body(axum::body::Body::empty()).unwrap();
    sender.send_request(plain).await.unwrap();
    let response = within("an answer comes", sender.send_request(request))
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let upgraded = TokioIo::new(hyper::upgrade::on(response).await.unwrap());
    let socket = WebSocketStream::from_raw_socket(upgraded, Role::Client, None).await;
    let mut watcher = Watcher(socket);
    let stream = world.upstream.stream().await;
    stream.send(task(1)).await;
    assert_eq!(watcher.frame().await["seq"], 1);
    watcher.0.close(None).await.unwrap();
    stream.closed().await;
}
