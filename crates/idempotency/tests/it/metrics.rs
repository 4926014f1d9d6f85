//! What is counted.

use metrics_exporter_prometheus::PrometheusBuilder;
use test_support::metrics::{LABELS, Scrape};

use crate::world::{Kind, World, order, request};

#[test]
fn every_outcome_is_counted_and_exists_from_the_start() {
    let recorder = PrometheusBuilder::new()
        .set_buckets(&[0.001, 0.01])
        .unwrap()
        .build_recorder();
    let handle = recorder.handle();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let story = async {
        let world = World::new(Kind::Postgres).await;
        let before = handle.render();
        for outcome in ["in_flight", "unavailable", "mismatch"] {
            let line = format!("idempotency_requests_total{{outcome=\"{outcome}\"}} 0");
            assert!(before.contains(&line), "{before}");
        }
        world.send(order("key-1")).await;
        world.send(order("key-1")).await;
        world.send(request("POST", "/orders", &["key-1"], "")).await;
        world.send(request("POST", "/orders", &["\""], "")).await;
        world.send(request("POST", "/orders", &[], "")).await;
        world.send(request("GET", "/orders", &["key-1"], "")).await;
        Scrape::parse(&handle.render()).unwrap()
    };
    let scrape = metrics::with_local_recorder(&recorder, || runtime.block_on(story));
    let count = |outcome| {
        scrape
            .value("idempotency_requests_total", &[("outcome", outcome)])
            .unwrap()
    };
    for outcome in ["new", "replayed", "mismatch", "invalid", "bypassed"] {
        assert_eq!(count(outcome).to_string(), "1", "{outcome}");
    }
    let value = |name| scrape.value(name, &[]).unwrap().to_string();
    assert_eq!(value("idempotency_cache_hits_total"), "1");
    assert_eq!(value("idempotency_seconds_count"), "3");
    let puts = [("op", "put_if_absent"), ("outcome", "done")];
    assert_eq!(
        scrape.value("kv_operations_total", &puts).unwrap().to_string(),
        "3"
    );
    let mistakes = scrape.mistakes(LABELS);
    assert!(mistakes.is_empty(), "{mistakes:?}");
}
