//! A platform of our own for each test: database, provider, services as processes.

mod orchestrators;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use doubles::ai::{self, AiProvider};
use ids::UserId;
use prost_types::value::Kind;
use prost_types::{Struct, Value};
use proto::quota::v1::quota_service_client::QuotaServiceClient;
use proto::quota::v1::{Balance, CreateGrantRequest, GetBalanceRequest};
use proto::saga::v1::saga_service_client::SagaServiceClient;
use proto::saga::v1::{GetSagaRequest, Saga, SagaEvent};
use proto::task::v1::task_service_client::TaskServiceClient;
use proto::task::v1::{CreateTaskRequest, GetTaskRequest, Task, TaskState};
use rpc::channel::Dialer;
use sqlx::PgPool;
use test_support::{ChildProcess, Scratch, TestDatabase, eventually, free_port, identities};
use token::Channel;
use tonic::Status;

use crate::certificates::Certificates;
pub use orchestrators::{Orchestrator, Participant};

/// Everything ends within this time, or the test fails. Machines in CI are slow.
pub const LONG: Duration = Duration::from_secs(60);

/// How the services run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `evenkeel dev`: one process.
    Dev,
    /// `evenkeel serve <service>`: a process each.
    Serve,
}

/// Path of the binary under test. Built once, by the same cargo that runs the tests.
pub fn binary() -> PathBuf {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY
        .get_or_init(|| {
            if let Some(path) = std::env::var_os("EVENKEEL_BIN") {
                return path.into();
            }
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let built = Command::new(cargo)
                // As `make test` builds it: another selection of packages would mean other features of what it is
                // built from, and so building all of that again.
                .args(["test", "--quiet", "--workspace", "--no-run"])
                .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
                .status()
                .expect("cargo runs");
            assert!(built.success(), "the binary does not build");
            let test = std::env::current_exe().expect("a test has a path");
            let target = test.ancestors().nth(2).expect("tests lie in <target>/debug/deps");
            target.join("evenkeel")
        })
        .clone()
}

/// A platform. Its processes end when it is dropped.
#[derive(Debug)]
pub struct Platform {
    pub database: TestDatabase,
    pub provider: AiProvider,
    pub orchestrator: Orchestrator,
    pub(crate) ports: Ports,
    /// Who answers for a package, when the orchestrator runs alone.
    pub participants: BTreeMap<String, Participant>,
    /// Further settings of every process, by environment variable.
    environment: Vec<(String, String)>,
    /// With them, every process speaks mutual TLS.
    pub certificates: Option<Certificates>,
    pub(crate) scratch: Scratch,
    /// Orchestrator, or the one process of `dev`.
    pub saga: Option<ChildProcess>,
    /// The quota service, the task service, and whoever was added.
    pub others: Vec<ChildProcess>,
    /// The billing service, once it is open.
    pub billing: Option<ChildProcess>,
    /// The gateway, once the front door is open.
    pub gateway: Option<ChildProcess>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Ports {
    quota: u16,
    quota_steps: u16,
    task: u16,
    task_steps: u16,
    pub(crate) billing: u16,
    pub(crate) billing_steps: u16,
    auth: u16,
    gateway: u16,
}

/// The port in the line `export <variable>=http://127.0.0.1:<port>` that `dev` prints.
async fn said_port(dev: &ChildProcess, variable: &str) -> u16 {
    let line = dev.wait_for_line(LONG, |line| line.contains(variable)).await;
    let port = line.rsplit(':').next().and_then(|port| port.parse().ok());
    port.unwrap_or_else(|| panic!("no port in {line:?}"))
}

fn url(certificates: Option<&Certificates>, port: u16) -> String {
    let scheme = if certificates.is_some() { "https" } else { "http" };
    format!("{scheme}://127.0.0.1:{port}")
}

pub(crate) fn local(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

impl Platform {
    /// Starts a platform and waits until every service answers.
    pub async fn start(mode: Mode) -> Self {
        let database = TestDatabase::create(&[]).await;
        let provider = ai::start("127.0.0.1:0").await.expect("a free port");
        match mode {
            Mode::Serve => Self::serve(database, provider, Vec::new(), None).await,
            Mode::Dev => Self::dev(database, provider).await,
        }
    }

    /// Starts a platform of one process a service on this database, with further settings in the environment.
    pub async fn start_on(database: TestDatabase, environment: Vec<(String, String)>) -> Self {
        let provider = ai::start("127.0.0.1:0").await.expect("a free port");
        Self::serve(database, provider, environment, None).await
    }

    /// Starts a platform of one process a service, which all speak mutual TLS.
    pub async fn start_secured() -> Self {
        let database = TestDatabase::create(&[]).await;
        let provider = ai::start("127.0.0.1:0").await.expect("a free port");
        Self::serve(database, provider, Vec::new(), Some(Certificates::make())).await
    }

    async fn serve(
        database: TestDatabase,
        provider: AiProvider,
        environment: Vec<(String, String)>,
        certificates: Option<Certificates>,
    ) -> Self {
        let migrated = Command::new(binary())
            .args(["migrate", "--database-url", &database.url()])
            .output()
            .expect("the binary runs");
        assert!(
            migrated.status.success(),
            "{}",
            String::from_utf8_lossy(&migrated.stderr)
        );
        let ports = Ports {
            quota: free_port(),
            quota_steps: free_port(),
            task: free_port(),
            task_steps: free_port(),
            billing: free_port(),
            billing_steps: free_port(),
            auth: free_port(),
            gateway: free_port(),
        };
        let url = |port| url(certificates.as_ref(), port);
        let participants = [
            ("evenkeel.quota.v1", ports.quota_steps),
            ("evenkeel.task.v1", ports.task_steps),
        ];
        let participants =
            participants.map(|(package, port)| (package.to_owned(), Participant::at(url(port))));
        let orchestrator = Orchestrator {
            instance: "saga-0".to_owned(),
            port: free_port(),
        };
        let mut platform = Self {
            database,
            provider,
            orchestrator,
            ports,
            participants: participants.into(),
            environment,
            certificates,
            scratch: Scratch::new().expect("a directory can be made"),
            saga: None,
            others: Vec::new(),
            billing: None,
            gateway: None,
        };
        let [quota, task] = ["quota", "task"].map(|name| platform.service_command(name));
        platform.others = vec![ChildProcess::spawn(quota), ChildProcess::spawn(task)];
        platform.start_orchestrator();
        platform.ready().await;
        platform
    }

    async fn dev(database: TestDatabase, provider: AiProvider) -> Self {
        let mut platform = Self {
            database,
            provider,
            orchestrator: Orchestrator {
                instance: "dev".to_owned(),
                port: 0,
            },
            ports: Ports {
                quota: 0,
                quota_steps: 0,
                task: 0,
                task_steps: 0,
                billing: 0,
                billing_steps: 0,
                auth: 0,
                gateway: 0,
            },
            participants: BTreeMap::new(),
            environment: Vec::new(),
            certificates: None,
            scratch: Scratch::new().expect("a directory can be made"),
            saga: None,
            others: Vec::new(),
            billing: None,
            gateway: None,
        };
        let mut command = platform.command(&["dev", "--port-base", "0"]);
        for peer in ["SAGA", "QUOTA", "TASK", "BILLING", "AUTH"] {
            command.env_remove(format!("EVENKEEL_PEERS__{peer}"));
        }
        let dev = ChildProcess::spawn(command);
        platform.orchestrator.port = said_port(&dev, "EVENKEEL_SAGA_URL").await;
        platform.ports.quota = said_port(&dev, "EVENKEEL_QUOTA_URL").await;
        platform.ports.task = said_port(&dev, "EVENKEEL_TASK_URL").await;
        platform.ports.auth = said_port(&dev, "EVENKEEL_AUTH_URL").await;
        platform.ports.billing = said_port(&dev, "EVENKEEL_BILLING_URL").await;
        platform.ports.gateway = said_port(&dev, "EVENKEEL_GATEWAY_URL").await;
        platform.saga = Some(dev);
        platform.ready().await;
        platform
    }

    /// Path of a file of this platform: settings, keys.
    pub fn file(&self, name: &str) -> std::path::PathBuf {
        self.scratch.path().join(name)
    }

    /// Sets a variable in the environment of the processes that are started from now on.
    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// A command with the platform's settings in its environment.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(args)
            .env_remove("RUST_BACKTRACE")
            .env("DATABASE_URL", self.database.url())
            .env("EVENKEEL_DATABASE__MIN", "1")
            .env("EVENKEEL_DATABASE__MAX", "30")
            .env("EVENKEEL_KEYS", identities().dir())
            .env("EVENKEEL_PEERS__SAGA", self.url(self.orchestrator.port))
            .env("EVENKEEL_PEERS__QUOTA", self.url(self.ports.quota))
            .env("EVENKEEL_PEERS__TASK", self.url(self.ports.task))
            .env("EVENKEEL_PEERS__AUTH", self.url(self.ports.auth))
            .env("EVENKEEL_PEERS__BILLING", self.url(self.ports.billing))
            .env("EVENKEEL_TASK__PROVIDERS__DEMO_AI__URL", self.provider.url())
            .env("EVENKEEL_ADMIN__LISTEN", local(0))
            .env("EVENKEEL_TELEMETRY__LEVEL", "info")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(certificates) = &self.certificates {
            let name = match args {
                ["serve", name, ..] => name,
                _ => "operator",
            };
            command.envs(certificates.environment(name));
        }
        command
    }

    /// Starts the auth service and the gateway of a platform of one process a service, and waits until both answer. Users'
    /// tokens are signed with the key of [`identities`], which the auth service finds in its database.
    pub async fn open_front_door(&mut self) {
        let vault = auth::sealed::Config::generate().expect("keys can be made");
        self.seed_signing_key(&vault).await;
        let keys: String = vault
            .keys
            .iter()
            .map(|key| format!("{{ version = {}, key = {:?} }}", key.version, key.key))
            .collect();
        let settings = format!(
            "[auth.vault]\nkeys = [{keys}]\nindex_key = {:?}\n",
            vault.index_key
        );
        let config = self.scratch.path().join("auth.toml");
        std::fs::write(&config, settings).expect("the directory can be written");
        let mut auth = self.command(&["serve", "auth", "--listen", &local(self.ports.auth)]);
        auth.arg("--config").arg(&config);
        self.others.push(ChildProcess::spawn(auth));
        self.start_gateway();
        self.gateway_ready().await;
    }

    /// Starts the gateway's process; the one before must have ended.
    pub fn start_gateway(&mut self) {
        let gateway = self.command(&["serve", "gateway", "--listen", &local(self.ports.gateway)]);
        self.gateway = Some(ChildProcess::spawn(gateway));
    }

    /// Waits until the gateway answers with what the auth service says.
    pub async fn gateway_ready(&self) {
        let keys = format!("{}/.well-known/jwks.json", self.gateway_url());
        eventually(LONG, || async {
            let answer = reqwest::get(&keys).await;
            answer.is_ok_and(|answer| answer.status().is_success())
        })
        .await;
    }

    async fn seed_signing_key(&self, vault: &auth::sealed::Config) {
        let key = identities().users();
        let place = auth::sealed::Place {
            table: "auth.signing_key",
            column: "private_sealed",
            row: key.kid(),
        };
        let pem = key.to_pem().expect("the key is whole");
        let vault = auth::sealed::Vault::new(vault).expect("the keys are good");
        let sealed = vault.seal(place, pem.as_bytes()).expect("it is small");
        sqlx::query(
            "insert into auth.signing_key (kid, public_x, private_sealed, state, activated_at) \
             values ($1, $2, $3, 'active', clock_timestamp())",
        )
        .bind(key.kid())
        .bind(&key.jwk().x)
        .bind(sealed)
        .execute(self.sql())
        .await
        .expect("the table is empty");
    }

    /// URL of the gateway, which leaves TLS to the ingress.
    pub fn gateway_url(&self) -> String {
        format!("http://{}", local(self.ports.gateway))
    }

    pub(crate) fn url(&self, port: u16) -> String {
        url(self.certificates.as_ref(), port)
    }

    /// A channel with which an operator calls a service.
    pub(crate) fn operator(&self, port: u16, service: &str) -> Channel {
        let dialer = self
            .certificates
            .as_ref()
            .map_or_else(Dialer::plain, |certificates| {
                Dialer::mutual(certificates.mutual("operator"))
            });
        let audience = service.parse().expect("names of services are words");
        let operator = identities().credentials("operator").with_dialer(dialer);
        operator.connect(&self.url(port), audience).expect("a URL")
    }

    /// The command of the quota or the task service, at its ports.
    ///
    /// # Panics
    /// At another name.
    pub fn service_command(&self, name: &str) -> Command {
        let (public, steps) = match name {
            "quota" => (self.ports.quota, self.ports.quota_steps),
            "task" => (self.ports.task, self.ports.task_steps),
            other => panic!("{other} is started otherwise"),
        };
        self.service_command_at(name, public, steps)
    }

    /// The command of another process of a service, at other ports.
    pub fn service_command_at(&self, name: &str, public: u16, steps: u16) -> Command {
        self.command(&[
            "serve",
            name,
            "--listen",
            &local(public),
            "--steps-listen",
            &local(steps),
        ])
    }

    /// Waits until every service answers.
    pub async fn ready(&self) {
        eventually(LONG, || async {
            let sagas = self.sagas().get_saga(GetSagaRequest::default()).await;
            let quota = self.quota().get_balance(GetBalanceRequest::default()).await;
            let task = self.tasks().get_task(GetTaskRequest::default()).await;
            let answers = [sagas.err(), quota.err(), task.err()];
            answers
                .iter()
                .flatten()
                .all(|status| status.code() == tonic::Code::InvalidArgument)
        })
        .await;
        // Definitions are registered while the orchestrator starts.
        eventually(LONG, || async {
            let request = proto::saga::v1::ListDefinitionsRequest::default();
            let listed = self.sagas().list_definitions(request).await;
            listed.is_ok_and(|l| l.into_inner().definitions.iter().any(|d| d.active))
        })
        .await;
    }

    /// URLs at which its processes tell machines how they are; the orchestrator's (or that of `dev`) first.
    pub async fn admin_urls(&self) -> Vec<String> {
        let mut urls = Vec::new();
        for process in self.saga.iter().chain(&self.others) {
            let line = process
                .wait_for_line(LONG, |line| line.trim().starts_with("admin "))
                .await;
            // `admin on 127.0.0.1:7121`, or in the welcome of dev `admin  http://127.0.0.1:7121  …`.
            let mut words = line.split_whitespace().skip(1).skip_while(|word| *word == "on");
            let place = words.next().expect("an address");
            urls.push(format!("http://{}", place.trim_start_matches("http://")));
        }
        urls
    }

    pub fn sagas(&self) -> SagaServiceClient<Channel> {
        SagaServiceClient::new(self.operator(self.orchestrator.port, "saga"))
    }

    pub fn quota(&self) -> QuotaServiceClient<Channel> {
        QuotaServiceClient::new(self.operator(self.ports.quota, "quota"))
    }

    pub fn tasks(&self) -> TaskServiceClient<Channel> {
        self.tasks_at(self.ports.task)
    }

    /// A client of another process of the task service.
    pub fn tasks_at(&self, port: u16) -> TaskServiceClient<Channel> {
        TaskServiceClient::new(self.operator(port, "task"))
    }

    /// Every gRPC listener of a platform of one process a service: the service, its URL, and what is served there by full
    /// name.
    pub fn listeners(&self) -> Vec<(&'static str, String, &'static [&'static str])> {
        let accounts: (_, _, &[&str]) = ("auth", self.url(self.ports.auth), &auth::SERVICES);
        let accounts = self.gateway.as_ref().map(|_| accounts);
        let others: [(_, _, &[&str]); 5] = [
            (
                "saga",
                self.url(self.orchestrator.port),
                &[
                    "evenkeel.saga.v1.SagaService",
                    "evenkeel.saga.v1.OperatorService",
                    "evenkeel.saga.v1.CompletionService",
                ],
            ),
            (
                "quota",
                self.url(self.ports.quota),
                &["evenkeel.quota.v1.QuotaService"],
            ),
            (
                "quota",
                self.url(self.ports.quota_steps),
                &["evenkeel.quota.v1.QuotaSteps"],
            ),
            (
                "task",
                self.url(self.ports.task),
                &["evenkeel.task.v1.TaskService", "evenkeel.task.v1.WatchService"],
            ),
            (
                "task",
                self.url(self.ports.task_steps),
                &["evenkeel.task.v1.TaskSteps"],
            ),
        ];
        let billing: [(_, _, &[&str]); 2] = [
            (
                "billing",
                self.url(self.ports.billing),
                &[
                    "evenkeel.billing.v1.PlanService",
                    "evenkeel.billing.v1.OrderService",
                    "evenkeel.billing.v1.PaymentService",
                    "evenkeel.billing.v1.NotifyService",
                    "evenkeel.billing.v1.WithdrawalService",
                    "evenkeel.billing.v1.DeskService",
                ],
            ),
            (
                "billing",
                self.url(self.ports.billing_steps),
                &["evenkeel.billing.v1.BillingSteps"],
            ),
        ];
        let billing = self.billing.iter().flat_map(|_| billing.clone());
        accounts.into_iter().chain(others).chain(billing).collect()
    }

    pub fn sql(&self) -> &PgPool {
        self.database.admin()
    }

    /// A user with quota.
    pub async fn user(&self, amount: i64) -> UserId {
        let user = UserId::new();
        let request = CreateGrantRequest {
            grant_id: format!("grant-{user}"),
            user_id: user.to_string(),
            amount,
            note: "test".to_owned(),
            ..CreateGrantRequest::default()
        };
        self.quota().create_grant(request).await.expect("a grant");
        user
    }

    pub async fn balance(&self, user: UserId) -> Balance {
        let request = GetBalanceRequest {
            user_id: user.to_string(),
        };
        let answer = self.quota().get_balance(request).await.expect("a balance");
        answer.into_inner().balance.expect("a balance")
    }

    /// Asks for a task, as a client does.
    pub async fn create_task(
        &self,
        user: UserId,
        feature: &str,
        text: &str,
        request_id: &str,
    ) -> Result<Task, Status> {
        let request = CreateTaskRequest {
            user_id: user.to_string(),
            feature_id: feature.to_owned(),
            input_data: Some(input(text)),
            request_id: request_id.to_owned(),
        };
        Ok(self
            .tasks()
            .create_task(request)
            .await?
            .into_inner()
            .task
            .expect("a task"))
    }

    pub async fn task(&self, task_id: &str) -> Result<Task, Status> {
        let request = GetTaskRequest {
            task_id: task_id.to_owned(),
        };
        Ok(self
            .tasks()
            .get_task(request)
            .await?
            .into_inner()
            .task
            .expect("a task"))
    }

    /// Waits until a task has ended.
    pub async fn ended(&self, task_id: &str) -> Task {
        eventually(LONG, || async {
            let task = self.task(task_id).await.ok()?;
            let ended =
                [TaskState::Completed, TaskState::Failed, TaskState::Cancelled].contains(&task.state());
            ended.then_some(task)
        })
        .await
    }

    pub async fn saga_of(&self, saga_id: &str) -> (Saga, Vec<SagaEvent>) {
        self.try_saga_of(saga_id).await.expect("a saga")
    }

    /// The same while the orchestrator may be down.
    pub async fn try_saga_of(&self, saga_id: &str) -> Result<(Saga, Vec<SagaEvent>), Status> {
        let request = GetSagaRequest {
            saga_id: saga_id.to_owned(),
            with_history: true,
            ..GetSagaRequest::default()
        };
        let answer = self.sagas().get_saga(request).await?.into_inner();
        Ok((answer.saga.expect("a saga"), answer.history))
    }

    /// Asks `evenkeel doctor --drift` whether the product's promise is kept.
    ///
    /// # Errors
    /// What it says if not.
    ///
    /// # Panics
    /// If the binary does not run.
    pub fn drift(&self) -> Result<(), String> {
        let answer = self
            .command(&["doctor", "--drift"])
            .output()
            .expect("the binary runs");
        if answer.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&answer.stdout).into_owned())
        }
    }

    /// Asks [`drift`](Self::drift).
    ///
    /// # Panics
    /// If the promise is not kept.
    pub fn assert_no_drift(&self) {
        if let Err(drift) = self.drift() {
            panic!("{drift}");
        }
    }

    /// Checks what must hold when everything has come to rest.
    pub async fn assert_conserved(&self) {
        let quota = self.database.pool("quota").await;
        let drift = quota::drift(&quota).await.expect("the database answers");
        assert_eq!(drift, [], "the quota ledger drifted");
        let open: i64 =
            sqlx::query_scalar("select count(*) from quota.quota_transactions where phase = 'reserved'")
                .fetch_one(self.sql())
                .await
                .expect("the database answers");
        assert_eq!(open, 0, "reservations were left open");
        let keys: Vec<String> = self.provider.books().effects.into_iter().map(|e| e.key).collect();
        let distinct: std::collections::BTreeSet<&String> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len(), "a provider effect was doubled");
    }
}

pub fn input(text: &str) -> Struct {
    let field = |text: &str| Value {
        kind: Some(Kind::StringValue(text.to_owned())),
    };
    Struct {
        fields: [
            ("text".to_owned(), field(text)),
            ("language".to_owned(), field("zh")),
        ]
        .into(),
    }
}

pub fn reason(status: &Status) -> String {
    rpc::error::info(status)
        .map(|info| info.reason)
        .unwrap_or_default()
}
