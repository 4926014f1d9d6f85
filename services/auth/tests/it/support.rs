//! A running service and short ways to call it.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use kv::Kv;
use process::grpc::{Limits, Listener};
use process::health::Health;
use process::{PoolGauge, Shutdown, Supervisor};
use proto::auth::v1 as pb;
use proto::auth::v1::auth_service_client::AuthServiceClient;
use proto::auth::v1::user_service_client::UserServiceClient;
use proto::quota::v1::quota_service_client::QuotaServiceClient;
use sqlx::PgPool;
use test_support::{Scratch, TestDatabase, TestRedis};
use token::{Credentials, Guard, ServiceKeys, Verifier};
use tonic::transport::Channel;
use tonic::{Request, Status};

pub(crate) use crate::parts::Store;
use crate::parts::generous;
use crate::providers::Providers;

/// Longest that a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);
/// A password that is taken.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// A service with a database and a key-value store of its own.
pub(crate) struct World {
    pub(crate) auth: Auth,
    pub(crate) kv: Kv,
    redis: Option<TestRedis>,
    setup: Setup,
    database: TestDatabase,
}

/// What all replicas of a world share.
struct Setup {
    /// Directory with the keys of services.
    keys: Scratch,
    config: auth::Config,
    providers: Providers,
}

/// A served instance. Its listener ends when it is dropped.
pub(crate) struct Auth {
    pub(crate) pool: PgPool,
    pub(crate) auth: AuthServiceClient<Channel>,
    pub(crate) users: UserServiceClient<Channel>,
    pub(crate) passwords: auth::password::Passwords,
    pub(crate) providers: Providers,
    operator: Credentials,
    shutdown: Shutdown,
    jobs: Vec<auth::Job>,
}

impl Drop for Auth {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Store::Postgres, |_| {}).await
    }

    pub(crate) async fn on(store: Store) -> Self {
        Self::with(store, |_| {}).await
    }

    pub(crate) async fn with(store: Store, adjust: impl FnOnce(&mut auth::Config)) -> Self {
        let database =
            TestDatabase::create(&[(auth::SCHEMA, &auth::MIGRATOR), (kv::SCHEMA, &kv::MIGRATOR)]).await;
        let redis = match store {
            Store::Postgres => None,
            Store::Redis => Some(TestRedis::create().await),
        };
        let config = kv::Config {
            redis_url: redis.as_ref().map(TestRedis::url),
            // The machine may be busy with other tests.
            timeout: Duration::from_secs(10),
            ..kv::Config::default()
        };
        let kv = Kv::open(&config, database.pool(kv::SCHEMA).await).unwrap();
        let providers = Providers::start().await;
        let keys = Scratch::new().unwrap();
        for name in ["operator", "gateway"] {
            token::create(keys.path(), &name.parse().unwrap()).unwrap();
        }
        let mut config = auth::Config::default();
        config.password.cost = 4;
        config.vault = auth::sealed::Config::generate().unwrap();
        // What is limited, and how, is the matter of other tests.
        config.limits = generous();
        config.sms = providers.sms_config();
        config.wechat = providers.wechat_config();
        adjust(&mut config);
        let setup = Setup {
            keys,
            config,
            providers,
        };
        let auth = Auth::serve(&database, kv.clone(), &setup, None).await;
        Self {
            auth,
            kv,
            redis,
            setup,
            database,
        }
    }

    /// Logs in with a code of WeChat.
    pub(crate) async fn wechat_login(
        &self,
        openid: &str,
        unionid: Option<&str>,
    ) -> Result<pb::Tokens, Status> {
        let request = pb::WechatLoginRequest {
            code: self.setup.providers.wechat.code(openid, unionid),
            ..pb::WechatLoginRequest::default()
        };
        let answer = self.auth.auth.clone().wechat_login(request).await?;
        Ok(answer.into_inner().tokens.unwrap())
    }

    /// Serves one more replica.
    pub(crate) async fn replica(&self) -> Auth {
        Auth::serve(&self.database, self.kv.clone(), &self.setup, None).await
    }

    /// Serves one more replica with dearer passwords.
    pub(crate) async fn replica_with_cost(&mut self, cost: u32) -> Auth {
        self.setup.config.password.cost = cost;
        self.replica().await
    }

    /// Serves one more replica that asks this quota service.
    pub(crate) async fn with_quota(&self, quota: QuotaServiceClient<rpc::channel::Channel>) -> Auth {
        Auth::serve(&self.database, self.kv.clone(), &self.setup, Some(quota)).await
    }

    /// Serves one more replica with another key-value store.
    pub(crate) async fn with_kv(&self, kv: Kv) -> Auth {
        Auth::serve(&self.database, kv, &self.setup, None).await
    }

    /// Opens a key-value store that nobody serves.
    pub(crate) async fn lost_kv(&self) -> Kv {
        let config = kv::Config {
            redis_url: Some(format!("redis://127.0.0.1:{}", test_support::free_port())),
            timeout: Duration::from_millis(200),
            ..kv::Config::default()
        };
        Kv::open(&config, self.database.pool(kv::SCHEMA).await).unwrap()
    }

    /// Signs a request as a service does.
    pub(crate) fn as_service<T>(&self, name: &str, message: T) -> Request<T> {
        let credentials = Credentials::open(self.setup.keys.path(), name.parse().unwrap()).unwrap();
        let now = std::time::SystemTime::now();
        bearer(&credentials.token(&"auth".parse().unwrap(), now), message)
    }

    /// Empties the key-value store.
    pub(crate) async fn flush(&self) {
        match &self.redis {
            Some(redis) => redis.flush().await,
            None => {
                let sql = "delete from kv.entry";
                sqlx::query(sql).execute(self.database.admin()).await.unwrap();
            }
        }
    }
}

impl Auth {
    async fn serve(
        database: &TestDatabase,
        kv: Kv,
        setup: &Setup,
        quota: Option<QuotaServiceClient<rpc::channel::Channel>>,
    ) -> Self {
        let pool = database.pool(auth::SCHEMA).await;
        let keys = &setup.keys;
        let deps = auth::Deps {
            pool: PoolGauge::new("auth", pool.clone()),
            kv: kv.clone(),
            quota,
        };
        let service = auth::build(setup.config.clone(), deps).await.unwrap();
        let services = ServiceKeys::open(keys.path()).unwrap();
        let verifier = Verifier::new("auth".parse().unwrap(), services, service.user_keys);
        let layer = Guard::new(verifier)
            .with_epochs(kv)
            .layer(&auth::SERVICES)
            .unwrap();
        let shutdown = Shutdown::new(Duration::from_secs(1));
        let supervisor = Supervisor::new(shutdown.clone());
        let health = Health::new().await;
        let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let channel = rpc::channel::lazy(&format!("http://{}", listener.local_addr())).unwrap();
        let (routes, stop) = (layer.guard(service.public), shutdown.clone());
        supervisor.spawn("auth", async move {
            process::grpc::serve("auth", listener, routes, &health, &stop, &Limits::default()).await
        });
        Self {
            pool,
            auth: AuthServiceClient::new(channel.clone()),
            users: UserServiceClient::new(channel),
            passwords: service.passwords,
            providers: setup.providers.clone(),
            operator: Credentials::open(keys.path(), "operator".parse().unwrap()).unwrap(),
            shutdown,
            jobs: service.jobs,
        }
    }

    /// Runs the background jobs from now on.
    pub(crate) fn run_jobs(&mut self) {
        for job in self.jobs.drain(..) {
            tokio::spawn((job.run)(self.shutdown.token()));
        }
    }

    pub(crate) async fn register(&self, phone: &str) -> pb::Tokens {
        let request = pb::RegisterRequest {
            phone: phone.to_owned(),
            password: PASSWORD.to_owned(),
            ..pb::RegisterRequest::default()
        };
        self.try_register(request).await.unwrap()
    }

    pub(crate) async fn try_register(&self, request: pb::RegisterRequest) -> Result<pb::Tokens, Status> {
        let answer = self.auth.clone().register(request).await?;
        Ok(answer.into_inner().tokens.unwrap())
    }

    pub(crate) async fn login(&self, phone: &str, password: &str) -> Result<pb::Tokens, Status> {
        self.try_login(pb::LoginRequest {
            phone: phone.to_owned(),
            password: password.to_owned(),
            ..pb::LoginRequest::default()
        })
        .await
    }

    pub(crate) async fn login_by_code(&self, phone: &str, code: &str) -> Result<pb::Tokens, Status> {
        self.try_login(pb::LoginRequest {
            phone: phone.to_owned(),
            code: code.to_owned(),
            ..pb::LoginRequest::default()
        })
        .await
    }

    pub(crate) async fn try_login(&self, request: pb::LoginRequest) -> Result<pb::Tokens, Status> {
        let answer = self.auth.clone().login(request).await?;
        Ok(answer.into_inner().tokens.unwrap())
    }

    /// Asks for a code and reads it on the phone.
    pub(crate) async fn code(&self, phone: &str, purpose: pb::SmsPurpose) -> String {
        let request = pb::SendSmsCodeRequest {
            phone: phone.to_owned(),
            purpose: purpose.into(),
        };
        self.auth.clone().send_sms_code(request).await.unwrap();
        self.providers.sms_code(phone)
    }

    pub(crate) async fn refresh(&self, refresh_token: &str) -> Result<pb::Tokens, Status> {
        let request = pb::RefreshRequest {
            refresh_token: refresh_token.to_owned(),
        };
        let answer = self.auth.clone().refresh(request).await?;
        Ok(answer.into_inner().tokens.unwrap())
    }

    pub(crate) async fn me(&self, tokens: &pb::Tokens) -> Result<pb::User, Status> {
        let request = as_user(tokens, pb::GetMeRequest {});
        Ok(self
            .users
            .clone()
            .get_me(request)
            .await?
            .into_inner()
            .user
            .unwrap())
    }

    pub(crate) async fn get_user(&self, user_id: &str) -> Result<pb::User, Status> {
        let request = pb::GetUserRequest {
            user_id: user_id.to_owned(),
        };
        let request = self.as_operator(request);
        Ok(self
            .users
            .clone()
            .get_user(request)
            .await?
            .into_inner()
            .user
            .unwrap())
    }

    pub(crate) async fn ban(&self, user_id: &str) -> Result<pb::User, Status> {
        let request = pb::BanUserRequest {
            user_id: user_id.to_owned(),
            reason: "spam".to_owned(),
        };
        let answer = self.users.clone().ban_user(self.as_operator(request)).await?;
        Ok(answer.into_inner().user.unwrap())
    }

    pub(crate) async fn unban(&self, user_id: &str) -> Result<pb::User, Status> {
        let request = pb::UnbanUserRequest {
            user_id: user_id.to_owned(),
            reason: "appeal".to_owned(),
        };
        let answer = self.users.clone().unban_user(self.as_operator(request)).await?;
        Ok(answer.into_inner().user.unwrap())
    }

    pub(crate) async fn set_role(&self, user_id: &str, role: pb::Role) -> Result<pb::User, Status> {
        let request = pb::SetRoleRequest {
            user_id: user_id.to_owned(),
            role: role.into(),
            reason: "test".to_owned(),
        };
        let answer = self.users.clone().set_role(self.as_operator(request)).await?;
        Ok(answer.into_inner().user.unwrap())
    }

    /// Registers a user, makes it an administrator, and logs it in again.
    pub(crate) async fn admin(&self) -> pb::Tokens {
        let phone = phone();
        let tokens = self.register(&phone).await;
        self.set_role(&tokens.user_id, pb::Role::Admin).await.unwrap();
        self.refresh(&tokens.refresh_token).await.unwrap()
    }

    /// Calls an admin method in the name of a user.
    pub(crate) async fn list_users_as(&self, tokens: &pb::Tokens) -> Result<pb::ListUsersResponse, Status> {
        let request = as_user(tokens, pb::ListUsersRequest::default());
        Ok(self.users.clone().list_users(request).await?.into_inner())
    }

    pub(crate) async fn sessions(&self, tokens: &pb::Tokens) -> Result<Vec<pb::Session>, Status> {
        let request = as_user(tokens, pb::ListSessionsRequest {});
        Ok(self
            .users
            .clone()
            .list_sessions(request)
            .await?
            .into_inner()
            .sessions)
    }

    /// Signs a request as the command line does.
    pub(crate) fn as_operator<T>(&self, message: T) -> Request<T> {
        let token = self
            .operator
            .token(&"auth".parse().unwrap(), std::time::SystemTime::now());
        bearer(&token, message)
    }

    /// Returns topics of all events of a user, in the order of their making.
    pub(crate) async fn topics(&self, user_id: &str) -> Vec<String> {
        sqlx::query_scalar("select topic from outbox where key = $1 order by seq")
            .bind(user_id)
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }
}

/// Puts a user's access token on a request.
pub(crate) fn as_user<T>(tokens: &pb::Tokens, message: T) -> Request<T> {
    bearer(&tokens.access_token, message)
}

fn bearer<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", value);
    request
}

/// Returns a phone number that no other test has.
pub(crate) fn phone() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("138{:08}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Returns the reason of a refusal, whoever refused.
pub(crate) fn reason<T: std::fmt::Debug>(result: Result<T, Status>) -> String {
    let status = result.unwrap_err();
    rpc::error::info(&status)
        .unwrap_or_else(|| panic!("{status} has a reason"))
        .reason
}
