//! What a process tells machines that watch it. One recorder a process, so one test for all that needs it.

use std::sync::OnceLock;
use std::time::Duration;

use process::admin::{Admin, Running};
use process::grpc::Listener;
use process::health::Health;
use process::{PoolGauge, Shutdown, Supervisor, pool};
use serde_json::{Value, json};
use telemetry::metrics::{self, Metrics};
use test_support::metrics::{LABELS, Scrape};
use test_support::{TestDatabase, eventually};

const LONG: Duration = Duration::from_secs(30);

fn metrics() -> Metrics {
    static METRICS: OnceLock<Metrics> = OnceLock::new();
    METRICS.get_or_init(|| metrics::install().unwrap()).clone()
}

fn start(admin: Admin) -> Running {
    admin
        .start(Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap())
        .unwrap()
}

async fn ask(running: &Running, path: &str) -> (u16, String) {
    let url = format!("http://{}{path}", running.local_addr());
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test]
async fn a_process_is_ready_when_all_its_services_are_and_alive_before() {
    let (quota, task) = (Health::new().await, Health::new().await);
    let admin = Admin::new(metrics())
        .service("quota", quota.readiness())
        .service("task", task.readiness());
    let running = start(admin);
    assert_eq!(ask(&running, "/livez").await, (200, "alive\n".to_owned()));
    quota.set_ready(true).await;
    assert_eq!(
        ask(&running, "/readyz").await,
        (503, "not ready: task\n".to_owned())
    );
    task.set_ready(true).await;
    assert_eq!(ask(&running, "/readyz").await, (200, "ready\n".to_owned()));
    task.set_ready(false).await;
    assert_eq!(ask(&running, "/readyz").await.0, 503);
}

#[tokio::test]
async fn a_route_answers_json_or_says_why_not_and_a_wrong_path_names_the_right_ones() {
    let admin = Admin::new(metrics())
        .json("/status", || async { Ok(json!({ "total": 2 })) })
        .json("/broken", || async { Err("the database is away".to_owned()) });
    let running = start(admin);
    let (code, body) = ask(&running, "/status").await;
    assert_eq!(
        (code, serde_json::from_str::<Value>(&body).unwrap()),
        (200, json!({ "total": 2 }))
    );
    let (code, body) = ask(&running, "/broken").await;
    assert_eq!(
        (code, serde_json::from_str::<Value>(&body).unwrap()),
        (503, json!({ "error": "the database is away" }))
    );
    let (code, body) = ask(&running, "/metric").await;
    assert_eq!(code, 404);
    for path in ["/metrics", "/livez", "/readyz", "/status"] {
        assert!(body.contains(path), "{body}");
    }
    let url = format!("http://{}/metrics", running.local_addr());
    let posted = reqwest::Client::new().post(url).send().await.unwrap();
    assert_eq!(posted.status().as_u16(), 405);
}

#[tokio::test]
async fn a_dropped_listener_answers_nobody() {
    let running = start(Admin::new(metrics()));
    let url = format!("http://{}/livez", running.local_addr());
    drop(running);
    eventually(LONG, || async { reqwest::get(&url).await.is_err() }).await;
}

#[tokio::test]
async fn a_scrape_shows_the_pools_and_the_process_by_the_rules() {
    let metrics = metrics();
    let database = TestDatabase::create(&[]).await;
    let mut config = database.pool_config();
    (config.min, config.max) = (1, 2);
    let gauge = PoolGauge::new(
        "scraped",
        pool::connect("scraped", "public", &config).await.unwrap(),
    );
    let shutdown = Shutdown::new(Duration::from_secs(1));
    let supervisor = Supervisor::new(shutdown.clone());
    pool::spawn_report(gauge.clone(), Duration::from_secs(3600), &supervisor);
    let running = start(Admin::new(metrics));

    let held = (gauge.acquire().await.unwrap(), gauge.acquire().await.unwrap());
    let waiting = tokio::spawn({
        let gauge = gauge.clone();
        async move { gauge.acquire().await }
    });
    let connections = |scrape: &Scrape, state| {
        scrape.value("db_pool_connections", &[("pool", "scraped"), ("state", state)])
    };
    let scrape = eventually(LONG, || async {
        let scrape = Scrape::parse(&ask(&running, "/metrics").await.1).unwrap();
        let seen = ["used", "free", "pending"].map(|state| connections(&scrape, state));
        (seen == [Some(2.0), Some(0.0), Some(1.0)]).then_some(scrape)
    })
    .await;
    assert_eq!(
        scrape.value("db_pool_connections_max", &[("pool", "scraped")]),
        Some(2.0)
    );
    assert_eq!(scrape.mistakes(LABELS), Vec::<String>::new());
    assert!(scrape.value("process_resident_memory_bytes", &[]).unwrap() > 1e6);

    drop(held);
    waiting.await.unwrap().unwrap();
    eventually(LONG, || async {
        let scrape = Scrape::parse(&ask(&running, "/metrics").await.1).unwrap();
        connections(&scrape, "pending") == Some(0.0)
    })
    .await;
    shutdown.trigger();
    supervisor.wait().await.unwrap();
}
