//! A shop behind the HTTP layer. Its database decides by the request's key whether an order is placed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{any, post};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use idempotency::{Config, Key, Scope, Store};
use kv::Kv;
use rpc::error::Reason;
use sqlx::PgPool;
use test_support::{PrivateRedis, TestDatabase, TestRedis};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

pub(crate) const LONG: Duration = Duration::from_secs(60);
/// Gates that stay open.
const OPEN: usize = 1_000_000;

/// Which store a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Redis,
    Postgres,
}

#[derive(Debug)]
enum Host {
    Redis(TestRedis),
    Private(PrivateRedis),
    Postgres,
}

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Shop {
    pub(crate) runs: AtomicU32,
    /// A handler that has begun waits here for a permit.
    pub(crate) gate: Semaphore,
    pool: PgPool,
}

impl Shop {
    pub(crate) fn runs(&self) -> u32 {
        self.runs.load(Ordering::SeqCst)
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) kv: Kv,
    pub(crate) shop: Arc<Shop>,
    pub(crate) app: Router,
    pub(crate) database: TestDatabase,
    host: Host,
}

impl World {
    pub(crate) async fn new(kind: Kind) -> Self {
        Self::with(kind, Config::default()).await
    }

    pub(crate) async fn with(kind: Kind, config: Config) -> Self {
        let host = match kind {
            Kind::Redis => Host::Redis(TestRedis::create().await),
            Kind::Postgres => Host::Postgres,
        };
        Self::on(host, config, Duration::from_secs(20)).await
    }

    /// On a Redis that the test may kill.
    pub(crate) async fn on_private_redis() -> Self {
        let host = Host::Private(PrivateRedis::start().await);
        Self::on(host, Config::default(), Duration::from_millis(300)).await
    }

    async fn on(host: Host, config: Config, timeout: Duration) -> Self {
        let database = TestDatabase::create(&[(kv::SCHEMA, &kv::MIGRATOR)]).await;
        sqlx::raw_sql(
            "create table placed (request_id text primary key, number int generated always as identity)",
        )
        .execute(database.admin())
        .await
        .unwrap();
        let redis_url = match &host {
            Host::Redis(redis) => Some(redis.url()),
            Host::Private(redis) => Some(redis.url()),
            Host::Postgres => None,
        };
        let settings = kv::Config {
            redis_url,
            timeout,
            ..kv::Config::default()
        };
        let kv = Kv::open(&settings, database.pool(kv::SCHEMA).await).unwrap();
        let store = Store::new(kv.clone(), config).unwrap();
        let shop = Arc::new(Shop {
            runs: AtomicU32::new(0),
            gate: Semaphore::new(OPEN),
            pool: database.pool("public").await,
        });
        let app = Router::new()
            .route("/orders", post(place).get(place).put(place).patch(place))
            .route("/status/{status}", any(answer))
            .route("/large/{bytes}", post(large))
            .route("/panic", post(panics))
            .with_state(Arc::clone(&shop))
            .layer(idempotency::http::Layer::new(store.clone(), refuse));
        Self {
            store,
            kv,
            shop,
            app,
            database,
            host,
        }
    }

    pub(crate) fn redis(&mut self) -> &mut PrivateRedis {
        match &mut self.host {
            Host::Private(redis) => redis,
            Host::Redis(_) | Host::Postgres => panic!("this test has no Redis of its own"),
        }
    }

    /// Empties the store of keys, as a restart without persistence does.
    pub(crate) async fn flush(&self) {
        match &self.host {
            Host::Redis(redis) => redis.flush().await,
            Host::Postgres | Host::Private(_) => {
                sqlx::query("delete from kv.entry")
                    .execute(self.database.admin())
                    .await
                    .unwrap();
            }
        }
    }

    /// Makes the next handlers wait until [`open`](Self::open).
    pub(crate) fn close(&self) {
        assert_eq!(self.shop.gate.forget_permits(OPEN), OPEN);
    }

    pub(crate) fn open(&self) {
        self.shop.gate.add_permits(OPEN);
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        send(self.app.clone(), request).await
    }

    /// Orders that were placed.
    pub(crate) async fn effects(&self) -> i64 {
        sqlx::query_scalar("select count(*) from placed")
            .fetch_one(self.database.admin())
            .await
            .unwrap()
    }
}

/// What a client sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn is_replayed(&self) -> bool {
        self.header("idempotency-replayed") == Some("true")
    }

    /// The reason of a refusal.
    pub(crate) fn reason(&self) -> &str {
        self.header("reason").unwrap_or("none")
    }
}

pub(crate) async fn send(app: Router, request: Request<Body>) -> Answer {
    let (head, body) = app.oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer {
        status: head.status.as_u16(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// A request of user_1.
pub(crate) fn request(method: &str, path: &str, keys: &[&str], body: &str) -> Request<Body> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .extension(Scope("user_1".to_owned()));
    for key in keys {
        request = request.header("Idempotency-Key", *key);
    }
    request.body(Body::from(body.to_owned())).unwrap()
}

pub(crate) fn order(key: &str) -> Request<Body> {
    request("POST", "/orders", &[key], r#"{"planId":"gold"}"#)
}

fn refuse(_: &axum::http::request::Parts, reason: Reason, retry_after: Option<Duration>) -> Response<Body> {
    let mut response = Response::builder()
        .status(reason.http_status())
        .header("reason", reason.name());
    if let Some(time) = retry_after {
        response = response.header("Retry-After", time.as_secs());
    }
    response.body(Body::empty()).unwrap()
}

/// Places an order once for a key; the answer tells its number, which a repetition gets from the database.
async fn place(State(shop): State<Arc<Shop>>, request: Request<Body>) -> Response<Body> {
    let run = shop.runs.fetch_add(1, Ordering::SeqCst) + 1;
    shop.gate.acquire().await.unwrap().forget();
    shop.gate.add_permits(1);
    let key = request.extensions().get::<Key>().cloned();
    let id = key.map_or_else(|| format!("run {run}"), |key| key.as_str().to_owned());
    let number: i32 = sqlx::query_scalar(
        "insert into placed (request_id) values ($1)
         on conflict (request_id) do update set request_id = excluded.request_id returning number",
    )
    .bind(&id)
    .fetch_one(&shop.pool)
    .await
    .unwrap();
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (header::LOCATION, format!("/orders/{number}")),
        (header::SET_COOKIE, "secret=1".to_owned()),
    ];
    (StatusCode::CREATED, headers, format!("{{\"number\":{number}}}")).into_response()
}

async fn answer(State(shop): State<Arc<Shop>>, Path(status): Path<u16>, _body: Bytes) -> Response<Body> {
    let run = shop.runs.fetch_add(1, Ordering::SeqCst) + 1;
    let body = Body::from(format!("run {run}"));
    Response::builder().status(status).body(body).unwrap()
}

async fn large(State(shop): State<Arc<Shop>>, Path(bytes): Path<usize>) -> String {
    shop.runs.fetch_add(1, Ordering::SeqCst);
    "x".repeat(bytes)
}

async fn panics(State(shop): State<Arc<Shop>>) -> &'static str {
    let run = shop.runs.fetch_add(1, Ordering::SeqCst) + 1;
    assert!(run > 1, "the first run dies");
    "alive"
}
