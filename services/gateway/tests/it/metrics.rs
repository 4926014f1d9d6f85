//! What is counted, under which names and labels.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use telemetry::metrics::{Metrics, install};
use test_support::metrics::{LABELS, Scrape};

use crate::support::{World, somebody};
use crate::watcher::{Got, Watcher, task};

/// All tests of this process count into the same.
pub(crate) fn metrics() -> &'static Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS.get_or_init(|| install().unwrap())
}

fn scrape() -> Scrape {
    Scrape::parse(&metrics().render()).unwrap()
}

/// Parameters have other names in the contract than in the document.
fn shape(template: &str) -> String {
    let parts = template.split('/').map(|part| {
        let is_parameter = part.starts_with('{');
        if is_parameter { "{}" } else { part }
    });
    parts.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn requests_and_watches_are_counted_by_route_and_never_by_id() {
    let mut world = World::new().await;
    let bearer = somebody();
    let path = "/api/v1/tasks/01890a5d-ac96-774b-bcce-b302099a8057";
    for _ in 0..3 {
        let call = world.get(path).with("authorization", &bearer);
        assert_eq!(call.send().await.status, 200);
    }
    world
        .get("/01890a5dac96774bbcceb302099a8057")
        .send()
        .await
        .expect_reason("ROUTE_NOT_FOUND");
    let odd = http::Method::from_bytes(b"ODD17").unwrap();
    world
        .call(odd, path)
        .send()
        .await
        .expect_reason("METHOD_NOT_ALLOWED");
    world.order(&bearer).with("idempotency-key", "key-1").send().await;
    let mut watcher = Watcher::open(&world, &bearer).await;
    world.upstream.stream().await.send(task(1)).await;
    assert_eq!(watcher.frame().await["seq"], 1);
    world.shutdown.trigger();
    assert_eq!(watcher.next().await, Got::end(1001, "UNAVAILABLE"));
    let _ = watcher.0.close(None).await;
    world.ended().await;

    let scrape = scrape();
    let route = "/api/v1/tasks/{task_id}";
    let get = [("method", "GET"), ("route", route), ("status", "200")];
    assert!(scrape.value("http_requests_total", &get).unwrap() >= 3.0);
    let timed = scrape.sum("http_request_duration_seconds_count", &[("route", route)]);
    assert!(timed >= 3.0, "{timed}");
    let none = [("method", "GET"), ("route", "none"), ("status", "404")];
    assert!(scrape.value("http_requests_total", &none).unwrap() >= 1.0);
    assert!(scrape.sum("http_requests_total", &[("method", "other")]) >= 1.0);
    assert!(scrape.sum("http_watches_ended_total", &[("cause", "drain")]) >= 1.0);
    assert!(scrape.sum("http_watch_frames_total", &[("transport", "websocket")]) >= 1.0);

    let paths = world.openapi["paths"].as_object().unwrap();
    let paths: BTreeSet<String> = paths.keys().map(|path| shape(path)).collect();
    let by_hand = ["none", "preflight", "/docs/", "/docs"];
    for route in scrape.values_of("http_requests_total", "route") {
        assert!(
            paths.contains(&shape(&route)) || by_hand.contains(&&*route),
            "{route}"
        );
    }
    let labels: Vec<&str> = LABELS.iter().copied().chain(["route", "transport"]).collect();
    assert_eq!(scrape.mistakes(&labels), Vec::<String>::new());
}
