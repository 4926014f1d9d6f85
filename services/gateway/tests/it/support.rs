//! A running gateway and short ways to call it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use gateway::{Config, Deps, ServeError};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use ids::UserId;
use kv::Kv;
use process::Shutdown;
use process::grpc::Listener;
use serde_json::Value;
use test_support::{TestDatabase, identities};
use token::{AccessClaims, Role};
use tokio::task::JoinHandle;

use crate::upstream::Upstream;

/// Longest that a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// How long the gateway drains.
const DRAIN: Duration = Duration::from_secs(20);
/// An order that is taken.
pub(crate) const ORDER: &str = r#"{"featureId":"image.resize","inputData":{"width":8}}"#;

/// Waits, but not for ever.
pub(crate) async fn within<F: Future>(what: &str, work: F) -> F::Output {
    tokio::time::timeout(DEADLINE, work)
        .await
        .unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

/// Where a gateway finds what it needs, and how long it drains.
#[derive(Debug)]
struct Place {
    /// Of the services.
    url: String,
    /// Of another key-value store than Postgres.
    redis: Option<String>,
    drain: Duration,
}

impl Place {
    fn of(upstream: &Upstream) -> Self {
        Self {
            url: format!("http://{}", upstream.addr),
            redis: None,
            drain: DRAIN,
        }
    }
}

fn nowhere(scheme: &str) -> String {
    format!("{scheme}://127.0.0.1:{}", test_support::free_port())
}

/// A gateway with services and a key-value store of its own.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) addr: SocketAddr,
    pub(crate) upstream: Upstream,
    pub(crate) shutdown: Shutdown,
    /// The document that is served.
    pub(crate) openapi: Value,
    pub(crate) kv: Kv,
    pub(crate) client: reqwest::Client,
    serving: Option<JoinHandle<Result<(), ServeError>>>,
    /// Dropped last.
    _database: TestDatabase,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(adjust: impl FnOnce(&mut Config)) -> Self {
        let upstream = Upstream::start().await;
        let place = Place::of(&upstream);
        Self::at(upstream, place, adjust).await
    }

    /// Starts a gateway that looks for its services where nobody is.
    pub(crate) async fn alone() -> Self {
        let upstream = Upstream::start().await;
        let place = Place {
            url: nowhere("http"),
            ..Place::of(&upstream)
        };
        Self::at(upstream, place, |_| {}).await
    }

    /// Starts a gateway whose key-value store is lost.
    pub(crate) async fn forgetful() -> Self {
        let upstream = Upstream::start().await;
        let place = Place {
            redis: Some(nowhere("redis")),
            ..Place::of(&upstream)
        };
        Self::at(upstream, place, |_| {}).await
    }

    /// Starts a gateway that drains for so long.
    pub(crate) async fn draining_for(drain: Duration) -> Self {
        let upstream = Upstream::start().await;
        let place = Place {
            drain,
            ..Place::of(&upstream)
        };
        Self::at(upstream, place, |_| {}).await
    }

    async fn at(upstream: Upstream, place: Place, adjust: impl FnOnce(&mut Config)) -> Self {
        let Place { url, redis, drain } = place;
        let url = url.as_str();
        crate::metrics::metrics();
        let database = TestDatabase::create(&[(kv::SCHEMA, &kv::MIGRATOR)]).await;
        let store = kv::Config {
            // The machine may be busy with other tests.
            timeout: Duration::from_secs(if redis.is_some() { 1 } else { 10 }),
            redis_url: redis,
            ..kv::Config::default()
        };
        let kv = Kv::open(&store, database.pool(kv::SCHEMA).await).unwrap();
        let mut config = Config::default();
        adjust(&mut config);
        let shutdown = Shutdown::new(drain);
        let packages = ["evenkeel.task.v1", "evenkeel.auth.v1", "evenkeel.billing.v1"];
        let channel = |package: &str| (package.to_owned(), rpc::channel::lazy(url).unwrap().into());
        let deps = Deps {
            upstreams: packages.into_iter().map(channel).collect::<BTreeMap<_, _>>(),
            watch: vec![identities().channel(url, "gateway", "task")],
            guard: identities().guard("gateway").with_epochs(kv.clone()),
            kv: kv.clone(),
            shutdown: shutdown.clone(),
        };
        let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let addr = listener.local_addr();
        let gateway = gateway::build(config, deps).unwrap();
        let openapi = serde_json::from_slice(gateway.openapi()).unwrap();
        Self {
            addr,
            upstream,
            shutdown,
            openapi,
            kv,
            client: client().build().unwrap(),
            serving: Some(tokio::spawn(gateway.serve(listener))),
            _database: database,
        }
    }

    /// Starts a request.
    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        let url = format!("http://{}{path}", self.addr);
        Call(self.client.request(method, url))
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    /// Starts a POST with a JSON body.
    pub(crate) fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> Call {
        self.call(Method::POST, path)
            .with("content-type", "application/json")
            .body(body)
    }

    /// Starts the order of a task.
    pub(crate) fn order(&self, bearer: &str) -> Call {
        self.post("/api/v1/tasks", ORDER).with("authorization", bearer)
    }

    /// Waits until the gateway has ended by itself.
    pub(crate) async fn ended(&mut self) {
        let serving = self.serving.take().expect("it ends once");
        within("the gateway ends", serving).await.unwrap().unwrap();
    }
}

/// A client that goes straight to where it is told.
pub(crate) fn client() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
}

/// A request that is being made.
#[derive(Debug)]
pub(crate) struct Call(reqwest::RequestBuilder);

impl Call {
    pub(crate) fn with<V>(self, name: &str, value: V) -> Self
    where
        HeaderValue: TryFrom<V>,
        <HeaderValue as TryFrom<V>>::Error: Into<http::Error>,
    {
        Self(self.0.header(name, value))
    }

    pub(crate) fn body(self, body: impl Into<reqwest::Body>) -> Self {
        Self(self.0.body(body))
    }

    pub(crate) async fn send(self) -> Answer {
        let response = self.open().await;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = within("a body comes", response.bytes()).await.unwrap().into();
        Answer {
            status,
            headers,
            body,
        }
    }

    /// Waits for the head only.
    pub(crate) async fn open(self) -> reqwest::Response {
        within("an answer comes", self.0.send()).await.unwrap()
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    /// Returns the only value of a header, if there is one.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let first = values.next().map(|value| value.to_str().unwrap());
        assert_eq!(values.next(), None, "{name} is there twice");
        first
    }

    /// Checks that this is a problem as RFC 9457 writes it, and returns its reason.
    #[track_caller]
    pub(crate) fn reason(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let problem = self.json();
        let reason = problem["reason"].as_str().unwrap().to_owned();
        let known = rpc::error::Reason::by_name(&reason).unwrap();
        assert_eq!(problem["status"], self.status.as_u16());
        assert_eq!(known.http_status(), self.status.as_u16());
        assert_eq!(problem["type"], format!("/errors/{reason}"));
        assert_eq!(problem["code"], known.number());
        assert_eq!(problem["requestId"].as_str(), self.header("x-request-id"));
        for name in ["title", "detail", "domain"] {
            assert!(!problem[name].as_str().unwrap().is_empty(), "{problem}");
        }
        reason
    }

    /// Checks the reason of a refusal.
    #[track_caller]
    pub(crate) fn expect_reason(&self, reason: &str) {
        assert_eq!(self.reason(), reason, "{}", self.json()["detail"]);
    }
}

/// `authorization` of somebody new.
pub(crate) fn somebody() -> String {
    identities().bearer(UserId::new(), Role::User)
}

/// `authorization` with a token that stops being believed after about so many seconds; negative ones have passed.
pub(crate) fn believed_for(user_id: UserId, seconds: i64) -> String {
    // What verifiers allow for clocks.
    const LEEWAY: i64 = 30;
    let now = SystemTime::now();
    let left = seconds - LEEWAY;
    let by = Duration::from_secs(left.unsigned_abs());
    let expires_at = if left < 0 { now - by } else { now + by };
    let claims = AccessClaims {
        user: token::User {
            user_id,
            session_id: "session-1".into(),
            role: Role::User,
            epoch: 0,
        },
        token_id: "token-1".into(),
        issued_at: expires_at - Duration::from_secs(60),
        expires_at,
    };
    format!("Bearer {}", token::sign_access(&claims, identities().users()))
}
