//! Trace context across a broker.

use events::Event;
use futures::FutureExt;
use rstest::rstest;
use serde_json::json;
use test_support::eventually;

use crate::world::{Kind, LONG, World};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[rstest]
#[tokio::test]
async fn the_trace_of_the_writer_is_the_trace_of_the_handler(
    #[values(Kind::Rabbit, Kind::Postgres)] kind: Kind,
) {
    let mut world = World::new(kind).await;
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let consuming = world.consumer_with(&["order.*"], move |_, _| {
        let current = telemetry::trace::current_traceparent();
        tell.send(current).expect("the test waits");
        async { Ok(()) }.boxed()
    });
    world.run(consuming.job);
    world.relay();
    let event = telemetry::trace::scope(PARENT.parse().unwrap(), async {
        Event::new("order.placed", "order_1", json!({}))
    })
    .await;
    assert_eq!(event.traceparent.as_deref(), Some(PARENT));
    world.insert(&event).await;
    assert_eq!(told.recv().await.unwrap().as_deref(), Some(PARENT));
    // Without one, or with one that is not valid, the handler has a new one.
    for parent in [None, Some("no trace".to_owned())] {
        let event = Event {
            traceparent: parent,
            ..Event::new("order.placed", "order_1", json!({}))
        };
        world.insert(&event).await;
        let trace = told.recv().await.unwrap().unwrap();
        assert!(
            telemetry::trace::parse_traceparent(&trace).is_ok() && trace != PARENT,
            "{trace}"
        );
    }
    eventually(LONG, || async { world.unpublished().await == 0 }).await;
    world.halt().await;
}
