//! How the gateway ends.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use test_support::eventually;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::raw::Raw;
use crate::support::{DEADLINE, World, somebody, within};
use crate::upstream::Plan;

const REQUEST: &str = "GET /x HTTP/1.1\r\nhost: x\r\n\r\n";

/// Connections are closed by the order to end, and not because they are idle.
async fn patient(max_connections: usize) -> World {
    World::with(|config| {
        config.head_timeout = DEADLINE * 2;
        config.max_connections = max_connections;
    })
    .await
}

#[tokio::test]
async fn what_is_under_way_is_answered_and_nothing_new_is_begun() {
    let mut world = World::new().await;
    let permits = Arc::new(Semaphore::new(0));
    world.upstream.plan([Plan::Hold(Arc::clone(&permits))]);
    let held = tokio::spawn(world.order(&somebody()).send());
    eventually(DEADLINE, || async { world.upstream.seen().len() == 1 }).await;
    world.shutdown.trigger();
    let refused = || async { TcpStream::connect(world.addr).await.is_err() };
    eventually(DEADLINE, refused).await;
    assert!(!held.is_finished());
    permits.add_permits(1);
    let answer = within("it is answered", held).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    world.ended().await;
}

#[tokio::test]
async fn connections_that_wait_for_a_request_are_closed() {
    let mut world = patient(10).await;
    let mut used = Raw::connect(world.addr).await;
    used.write(REQUEST).await;
    used.answer().await;
    world.shutdown.trigger();
    assert!(used.read_to_end().await.is_empty());
    world.ended().await;
}

#[tokio::test]
async fn clients_of_http_2_are_told_to_go() {
    let mut world = World::new().await;
    world.client = crate::support::client().http2_prior_knowledge().build().unwrap();
    world.get("/x").send().await.expect_reason("ROUTE_NOT_FOUND");
    world.shutdown.trigger();
    world.ended().await;
}

#[tokio::test]
async fn a_full_house_ends_as_well() {
    let mut world = patient(1).await;
    let mut only = Raw::connect(world.addr).await;
    only.write(REQUEST).await;
    only.answer().await;
    world.shutdown.trigger();
    assert!(only.read_to_end().await.is_empty());
    world.ended().await;
}

#[tokio::test]
async fn what_does_not_end_in_time_is_left() {
    let mut world = World::draining_for(Duration::from_millis(300)).await;
    world.upstream.plan([Plan::Never]);
    let held = tokio::spawn(world.order(&somebody()).send());
    eventually(DEADLINE, || async { world.upstream.seen().len() == 1 }).await;
    world.shutdown.trigger();
    world.ended().await;
    assert!(!held.is_finished());
}
