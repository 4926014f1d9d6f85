//! A billing service with everything around it that a test needs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{self, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response as HttpResponse};
use axum::routing::post;
use doubles::pay::{Books, Options};
use doubles::{alipay, wechatpay};
use ids::{UserId, WithdrawalId};
use kms::Provider::Local;
use kms::{Kms, LocalKeys, Place};
use pay::{Clock, HttpClient, PrivateKey, Provider, Timeouts};
use process::PoolGauge;
use proto::billing::v1 as pb;
use proto::billing::v1::billing_steps_client::BillingStepsClient;
use proto::billing::v1::notify_service_client::NotifyServiceClient;
use proto::saga::v1::completion_service_client::CompletionServiceClient;
use proto::saga::v1::saga_service_client::SagaServiceClient;
use sqlx::PgPool;
use test_support::{Scratch, TestDatabase, identities};
use token::{Channel, Role};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Request, Status};

use crate::fake_sagas::FakeSagas;

/// Longest that a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A service on a database of its own, with doubles of both providers and a fake orchestrator.
pub(crate) struct World {
    pub(crate) wechat: wechatpay::WeChatPay,
    pub(crate) alipay: alipay::Alipay,
    pub(crate) sagas: FakeSagas,
    /// The public side; the clients of its services are made from it. Calls are the gateway's, unless [`as_user`] says
    /// otherwise.
    pub(crate) public: Channel,
    /// The same side, called by an operator, who may do what administrators may.
    pub(crate) operator: Channel,
    pub(crate) steps: BillingStepsClient<Channel>,
    /// Pool of the service's schema.
    pub(crate) pool: PgPool,
    jobs: Vec<Jobs>,
    config: billing::Config,
    providers: Vec<Arc<dyn Provider>>,
    sagas_channel: Channel,
    seen: Seen,
    pub(crate) db: TestDatabase,
    pub(crate) kms: Kms,
    /// The key file, with which `kms` was opened.
    pub(crate) key_file: PathBuf,
    _keys: Scratch,
}

/// Notifications that came to the edge, as they came.
type Seen = Arc<Mutex<Vec<pb::ReceiveNotifyRequest>>>;

/// The background jobs of one process.
struct Jobs {
    stop: CancellationToken,
    handles: Vec<JoinHandle<()>>,
}

/// Settings of a test: quick questions, and a person is told soon.
pub(crate) fn config() -> billing::Config {
    billing::Config {
        ask_after: [20, 50, 100].map(Duration::from_millis).to_vec(),
        case_after: Duration::from_secs(3600),
        wait: Duration::from_secs(3),
        import_statements: false,
        ..billing::Config::default()
    }
}

impl World {
    /// A world whose background work runs.
    pub(crate) async fn new() -> Self {
        let mut world = Self::quiet(config()).await;
        world.run_jobs().await;
        world
    }

    /// A world without background work, until [`run_jobs`](Self::run_jobs).
    pub(crate) async fn quiet(config: billing::Config) -> Self {
        Self::set_up(config, Books::default(), Books::default(), &["wechat", "alipay"]).await
    }

    /// A quiet world in which Alipay is not configured.
    pub(crate) async fn without_alipay(config: billing::Config) -> Self {
        Self::set_up(config, Books::default(), Books::default(), &["wechat"]).await
    }

    /// A quiet world whose providers, WeChat and Alipay, have books already.
    pub(crate) async fn with_books(config: billing::Config, wechat: Books, alipay: Books) -> Self {
        Self::set_up(config, wechat, alipay, &["wechat", "alipay"]).await
    }

    async fn set_up(mut config: billing::Config, wechat: Books, alipay: Books, channels: &[&str]) -> Self {
        static WECHAT: LazyLock<wechatpay::Keys> = LazyLock::new(|| wechatpay::Keys::generate().unwrap());
        static ALIPAY: LazyLock<alipay::Keys> = LazyLock::new(|| alipay::Keys::generate().unwrap());
        let db = TestDatabase::create(&[(billing::SCHEMA, &billing::MIGRATOR)]).await;
        let wechat = wechatpay::resume("127.0.0.1:0", Options::default(), &WECHAT, wechat);
        let alipay = alipay::resume("127.0.0.1:0", Options::default(), &ALIPAY, alipay);
        let (wechat, alipay) = (wechat.await.unwrap(), alipay.await.unwrap());
        let sagas = FakeSagas::default();
        let sagas_url = serve(sagas.routes()).await;
        let sagas_channel = identities().channel(&sagas_url, "billing", "saga");
        let mut providers = vec![wechat_client(&wechat), alipay_client(&alipay)];
        providers.retain(|provider| channels.contains(&provider.name()));

        let public = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let public_url = format!("http://{}", public.local_addr().unwrap());
        let public_channel = identities().channel(&public_url, "gateway", "billing");
        let seen = Seen::default();
        let edge = Edge {
            client: NotifyServiceClient::new(public_channel.clone()),
            seen: Arc::clone(&seen),
        };
        config.notify_url = notify_edge(edge).await;

        let pool = db.pool(billing::SCHEMA).await;
        let keys = Scratch::new().unwrap();
        let key_file = keys.path().join("kms.json");
        kms::create_file(&key_file).unwrap();
        let kms = read_keys(&key_file);
        let service = build(&pool, &config, &providers, &sagas_channel, &kms);
        serve_on(public, service.public);
        let steps_url = serve(service.steps).await;
        let steps = BillingStepsClient::new(identities().channel(&steps_url, "saga", "billing"));
        sagas.participant(steps.clone());
        Self {
            wechat,
            alipay,
            sagas,
            public: public_channel,
            operator: identities().channel(&public_url, "operator", "billing"),
            steps,
            pool,
            jobs: Vec::new(),
            config,
            providers,
            sagas_channel,
            seen,
            db,
            kms,
            key_file,
            _keys: keys,
        }
    }

    /// Returns the notifications that came so far, as they came.
    pub(crate) fn seen(&self) -> Vec<pb::ReceiveNotifyRequest> {
        self.seen.lock().unwrap().clone()
    }

    /// Delivers a notification; returns the HTTP status and body that the provider would see.
    pub(crate) async fn deliver(&self, notify: pb::ReceiveNotifyRequest) -> Result<(u32, String), Status> {
        let mut client = NotifyServiceClient::new(self.public.clone());
        let answer = client.receive_notify(notify).await?.into_inner();
        Ok((answer.status, String::from_utf8(answer.body.to_vec()).unwrap()))
    }

    /// Begins the background work of one more process.
    pub(crate) async fn run_jobs(&mut self) {
        self.run_those(|_| true).await;
    }

    /// Begins one of the background jobs alone.
    pub(crate) async fn run_job(&mut self, name: &str) {
        self.run_those(|job| job == name).await;
    }

    async fn run_those(&mut self, wanted: impl Fn(&str) -> bool) {
        let pool = self.db.pool(billing::SCHEMA).await;
        let service = build(
            &pool,
            &self.config,
            &self.providers,
            &self.sagas_channel,
            &self.kms,
        );
        let stop = CancellationToken::new();
        let handles = service
            .jobs
            .into_iter()
            .filter(|job| wanted(job.name))
            .map(|job| tokio::spawn((job.run)(stop.clone())));
        self.jobs.push(Jobs {
            handles: handles.collect(),
            stop,
        });
    }

    /// Ends all background work in the middle of whatever it does.
    pub(crate) async fn kill_jobs(&mut self) {
        for Jobs { stop, handles } in self.jobs.drain(..) {
            for handle in handles {
                handle.abort();
                let _ = handle.await;
            }
            stop.cancel();
        }
    }

    /// Returns the client of a provider, as the service uses it.
    pub(crate) fn provider(&self, channel: &str) -> Arc<dyn Provider> {
        let found = self.providers.iter().find(|provider| provider.name() == channel);
        Arc::clone(found.unwrap())
    }

    /// Writes who gets the money of a withdrawal, as its creation does; nothing if it was written before.
    pub(crate) async fn give_payee(&self, id: WithdrawalId, json: &str) {
        let row = id.uuid().to_string();
        let place = Place {
            table: "billing.payees",
            column: "recipient_sealed",
            row: &row,
        };
        let sealed = self.kms.seal(place, json.as_bytes()).await.unwrap();
        sqlx::query(
            "insert into payees (withdrawal_id, recipient_sealed) values ($1, $2) on conflict do nothing",
        )
        .bind(id.uuid())
        .bind(sealed)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Asks the database for one value.
    pub(crate) async fn value<T>(&self, sql: &'static str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
    {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for jobs in &self.jobs {
            jobs.stop.cancel();
        }
    }
}

fn build(
    pool: &PgPool,
    config: &billing::Config,
    providers: &[Arc<dyn Provider>],
    sagas: &Channel,
    kms: &Kms,
) -> billing::Service {
    let deps = billing::Deps {
        pool: PoolGauge::new("billing", pool.clone()),
        steps_pool: PoolGauge::new("billing-steps", pool.clone()),
        sagas: SagaServiceClient::new(sagas.clone()),
        completions: CompletionServiceClient::new(sagas.clone()),
        providers: providers.to_vec(),
        guard: identities().guard("billing"),
        kms: kms.clone(),
    };
    billing::build(config.clone(), deps).unwrap()
}

/// Reads a key file.
pub(crate) fn read_keys(file: &Path) -> Kms {
    Kms::new(Local(LocalKeys::read(file).unwrap()), Vec::new())
}

/// A client that does not wait long for those who never answer.
fn http() -> HttpClient {
    HttpClient::new(Timeouts {
        connect: Duration::from_secs(1),
        answer: Duration::from_millis(700),
        file: Duration::from_secs(5),
    })
    .unwrap()
}

fn wechat_client(double: &wechatpay::WeChatPay) -> Arc<dyn Provider> {
    let merchant = double.merchant();
    let config = pay::wechat::Config {
        app_id: merchant.app_id,
        merchant_id: merchant.merchant_id,
        serial: merchant.serial,
        key: PrivateKey::from_pem(merchant.private_key.as_bytes()).unwrap(),
        api_v3_key: pay::wechat::ApiV3Key::new(merchant.api_v3_key.as_bytes()).unwrap(),
        // The double signs notifications with its certificate.
        trust: pay::wechat::Trust::Certificates,
        scene: Some(pay::wechat::TransferScene {
            id: "1005".to_owned(),
            reports: vec![("岗位类型".to_owned(), "推广员".to_owned())],
        }),
        url: double.url(),
    };
    Arc::new(pay::wechat::WeChatPay::new(config, http(), Clock::system()).unwrap())
}

fn alipay_client(double: &alipay::Alipay) -> Arc<dyn Provider> {
    let merchant = double.merchant();
    let config = pay::alipay::Config {
        app_id: merchant.app_id,
        merchant_id: merchant.merchant_id,
        key: PrivateKey::from_pem(merchant.private_key.as_bytes()).unwrap(),
        trust: pay::alipay::Trust::Certificates(
            pay::alipay::Certificates::from_pem(
                merchant.app_certificate.as_bytes(),
                merchant.alipay_certificate.as_bytes(),
                merchant.roots.as_bytes(),
            )
            .unwrap(),
        ),
        url: double.url(),
    };
    Arc::new(pay::alipay::Alipay::new(config, http(), Clock::system()).unwrap())
}

async fn serve(routes: Routes) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    serve_on(listener, routes);
    url
}

fn serve_on(listener: TcpListener, routes: Routes) {
    tokio::spawn(
        Server::builder()
            .add_routes(routes)
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
}

/// What the edge needs.
#[derive(Clone)]
struct Edge {
    client: NotifyServiceClient<Channel>,
    seen: Seen,
}

/// The gateway's part: takes notifications over HTTP and passes them on as they are. Returns the URL without the channel.
async fn notify_edge(edge: Edge) -> String {
    let router = Router::new().route("/{channel}", post(forward)).with_state(edge);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr: SocketAddr = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{addr}")
}

async fn forward(
    State(mut edge): State<Edge>,
    extract::Path(channel): extract::Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> HttpResponse {
    let channel = match channel.as_str() {
        "wechat" => pb::Channel::Wechat,
        _ => pb::Channel::Alipay,
    };
    let headers = headers.iter().filter_map(|(name, value)| {
        Some(pb::NotifyHeader {
            name: name.to_string(),
            value: value.to_str().ok()?.to_owned(),
        })
    });
    let request = pb::ReceiveNotifyRequest {
        channel: channel.into(),
        headers: headers.collect(),
        body,
    };
    edge.seen.lock().unwrap().push(request.clone());
    match edge.client.receive_notify(request).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            let status = StatusCode::from_u16(u16::try_from(answer.status).unwrap()).unwrap();
            (status, answer.body).into_response()
        }
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// Makes a request one of a user.
pub(crate) fn as_user<T>(user_id: UserId, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let bearer = identities().bearer(user_id, Role::User);
    request
        .metadata_mut()
        .insert("authorization", bearer.parse().unwrap());
    request
}

/// Returns the reason of a refusal.
pub(crate) fn reason<T: std::fmt::Debug>(result: Result<T, Status>) -> String {
    rpc::error::info(&result.unwrap_err())
        .expect("the status has a reason")
        .reason
}
