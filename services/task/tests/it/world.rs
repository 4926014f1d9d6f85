//! A task service with everything around it that a test needs.

use std::collections::BTreeMap;
use std::time::Duration;

use doubles::ai::AiProvider;
use events::Broker;
use ids::{SagaId, TaskId, UserId};
use process::PoolGauge;
use proto::saga::v1::saga_service_client::SagaServiceClient;
use proto::task::v1 as pb;
use proto::task::v1::task_service_client::TaskServiceClient;
use proto::task::v1::task_steps_client::TaskStepsClient;
use proto::task::v1::watch_service_client::WatchServiceClient;
use rpc::step::{Op, StepCall};
use serde_json::{Value, json};
use sqlx::PgPool;
use task::{Config, DEMO_PROVIDER};
use test_support::{TestDatabase, eventually, identities};
use token::{Channel, Role};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::fake_sagas::FakeSagas;

/// Longest that a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// A service on a database of its own, with a provider double and a fake orchestrator.
pub(crate) struct World {
    pub(crate) provider: AiProvider,
    pub(crate) sagas: FakeSagas,
    pub(crate) tasks: TaskServiceClient<Channel>,
    pub(crate) steps: TaskStepsClient<Channel>,
    /// Pool that the public service uses.
    pub(crate) pool: PgPool,
    pub(crate) config: Config,
    sagas_channel: Channel,
    workers: Vec<Worker>,
    pub(crate) db: TestDatabase,
}

/// The background jobs of one process.
pub(crate) struct Worker {
    stop: CancellationToken,
    handle: JoinHandle<()>,
}

/// A process that is called, and does its background work.
pub(crate) struct Process {
    pub(crate) watch: WatchServiceClient<Channel>,
    pub(crate) steps: TaskStepsClient<Channel>,
    jobs: Worker,
}

impl Process {
    /// Gives the order to end: background work drains, calls are still answered.
    pub(crate) fn end(&self) {
        self.jobs.stop.cancel();
    }
}

impl Worker {
    fn spawn(jobs: Vec<task::Job>) -> Self {
        let stop = CancellationToken::new();
        let runs: Vec<_> = jobs.into_iter().map(|job| (job.run)(stop.clone())).collect();
        let handle = tokio::spawn(async move {
            futures::future::join_all(runs).await;
        });
        Self { stop, handle }
    }

    /// Lets the worker drain.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.handle.await.unwrap();
    }

    /// Ends the worker in the middle of whatever it does.
    pub(crate) async fn kill(self) {
        self.handle.abort();
        let _ = self.handle.await;
    }
}

/// Settings of a test: short leases and scans, and these features instead of the built-in ones.
pub(crate) fn config(provider: &AiProvider, features: Value) -> Config {
    let mut config = Config::with_demo_provider(provider.url());
    config.features = serde_json::from_value(features).unwrap();
    config.worker.lease = Duration::from_secs(1);
    config.worker.scan = Duration::from_millis(20);
    config.create_wait = Duration::from_secs(5);
    config
}

/// A step that asks the provider, with quick retries.
pub(crate) fn ask(name: &str, prompt: &str) -> Value {
    json!({
        "name": name, "kind": "http", "provider": DEMO_PROVIDER, "path": "/v1/generate",
        "body": { "prompt": prompt },
        "timeout": "400ms",
        "retry": { "retries": 3, "initial": "10ms", "max": "40ms" },
    })
}

/// A feature of one quota.
pub(crate) fn feature(steps: Value) -> Value {
    json!({ "title": "Test", "amount": 1, "deadline": "1m", "pipeline": { "steps": steps } })
}

/// Two steps: ask the provider, shape its answer.
pub(crate) fn simple() -> Value {
    json!({ "simple": feature(json!([
        ask("ASK", "say {{input.text}}"),
        { "name": "SHAPE", "kind": "transform", "output": { "said": "{{steps.ASK.output.output}}" } },
    ])) })
}

async fn deps(db: &TestDatabase, sagas: &Channel, events: events::Config) -> task::Deps {
    task::Deps {
        pool: PoolGauge::new("task", db.pool(task::SCHEMA).await),
        steps_pool: PoolGauge::new("task-steps", db.pool(task::SCHEMA).await),
        sagas: SagaServiceClient::new(sagas.clone()),
        broker: Broker::new(events, db.pool(events::SCHEMA).await).unwrap(),
        guard: identities().guard("task"),
    }
}

/// Makes a request one of a user.
pub(crate) fn as_user<T>(mut request: Request<T>, user_id: UserId) -> Request<T> {
    let bearer = identities().bearer(user_id, Role::User);
    request
        .metadata_mut()
        .insert("authorization", bearer.parse().unwrap());
    request
}

/// Serves a service `to`, and opens a channel to it for the service `from`.
async fn serve(routes: Routes, from: &str, to: &str) -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let incoming = TcpListenerStream::new(listener);
    let mut server = Server::builder().max_concurrent_streams(Some(4_096));
    tokio::spawn(server.add_routes(routes).serve_with_incoming(incoming));
    identities().channel(&url, from, to)
}

impl World {
    /// Starts a service with one worker.
    pub(crate) async fn new(features: Value) -> Self {
        let mut world = Self::without_worker(features, |_| {}).await;
        let worker = world.worker().await;
        world.workers.push(worker);
        world
    }

    /// Starts a service whose pipelines nobody carries out.
    pub(crate) async fn without_worker(features: Value, adjust: impl FnOnce(&mut Config)) -> Self {
        let db = TestDatabase::create(&[
            (events::SCHEMA, &events::MIGRATOR),
            (task::SCHEMA, &task::MIGRATOR),
        ])
        .await;
        let provider = doubles::ai::start("127.0.0.1:0").await.unwrap();
        let mut config = config(&provider, features);
        adjust(&mut config);
        let sagas = FakeSagas::new();
        let sagas_channel = serve(sagas.routes(), "task", "saga").await;
        let deps = deps(&db, &sagas_channel, events::Config::default()).await;
        let pool = deps.pool.pool().clone();
        let service = task::build(config.clone(), deps).unwrap();
        let tasks = TaskServiceClient::new(serve(service.public, "gateway", "task").await);
        let steps = TaskStepsClient::new(serve(service.steps, "saga", "task").await);
        sagas.participant(steps.clone());
        Self {
            provider,
            sagas,
            tasks,
            steps,
            pool,
            config,
            sagas_channel,
            workers: Vec::new(),
            db,
        }
    }

    /// Starts the background jobs of one more process.
    pub(crate) async fn worker(&self) -> Worker {
        let deps = deps(&self.db, &self.sagas_channel, events::Config::default()).await;
        Worker::spawn(task::build(self.config.clone(), deps).unwrap().jobs)
    }

    /// Starts one more process, with its jobs, on a broker with these settings.
    pub(crate) async fn process_on(&self, events: events::Config) -> Process {
        let deps = deps(&self.db, &self.sagas_channel, events).await;
        let service = task::build(self.config.clone(), deps).unwrap();
        let jobs = Worker::spawn(service.jobs);
        Process {
            watch: WatchServiceClient::new(serve(service.public, "gateway", "task").await),
            steps: TaskStepsClient::new(serve(service.steps, "saga", "task").await),
            jobs,
        }
    }

    /// Starts one more process, with its jobs.
    pub(crate) async fn process(&self) -> Process {
        self.process_on(events::Config::default()).await
    }

    /// Creates a task and begins its pipeline, as a saga does.
    pub(crate) async fn begin(&self, feature: &str, input: Value) -> Run {
        let run = Run::new(self.steps.clone());
        run.create(feature, input).await.unwrap();
        let answer = run.run_pipeline().await.unwrap();
        assert!(
            rpc::step::pending(answer.metadata()).is_some(),
            "the first look is pending"
        );
        run
    }

    /// Reads columns as JSON, for looking at anything.
    pub(crate) async fn rows(&self, sql: &'static str, task_id: TaskId) -> Vec<Value> {
        sqlx::query_scalar(sql)
            .bind(task_id.uuid())
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// Returns the state of a task, as in the table.
    pub(crate) async fn state(&self, task_id: TaskId) -> String {
        sqlx::query_scalar("select status from tasks where id = $1")
            .bind(task_id.uuid())
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Returns the topics of the facts about a task, oldest first.
    pub(crate) async fn topics(&self, task_id: TaskId) -> Vec<String> {
        sqlx::query_scalar("select topic from outbox where key = $1 order by id")
            .bind(task_id.to_string())
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// Waits until the provider has received this many requests.
    pub(crate) async fn until_asked(&self, wanted: usize) {
        eventually(DEADLINE, || async { self.provider.requests().len() >= wanted }).await;
    }

    /// Counts the effects at the provider by request id, all of them.
    pub(crate) fn effects(&self) -> BTreeMap<String, usize> {
        let mut effects = BTreeMap::new();
        for effect in self.provider.books().effects {
            *effects.entry(effect.key).or_insert(0) += 1;
        }
        effects
    }
}

/// One task, and the step calls of its saga.
#[derive(Clone)]
pub(crate) struct Run {
    pub(crate) task_id: TaskId,
    pub(crate) saga_id: SagaId,
    pub(crate) user_id: UserId,
    steps: TaskStepsClient<Channel>,
}

impl Run {
    pub(crate) fn new(steps: TaskStepsClient<Channel>) -> Self {
        Self {
            task_id: TaskId::new(),
            saga_id: SagaId::new(),
            user_id: UserId::new(),
            steps,
        }
    }

    /// Wraps a message in the metadata of a step call.
    pub(crate) fn call<T>(&self, step: &str, op: Op, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let call = StepCall {
            saga_id: self.saga_id,
            step: step.to_owned(),
            index: 0,
            op,
            attempt: 1,
            epoch: 1,
            refusable: op == Op::Action && !["COMPLETE_TASK", "FINISH"].contains(&step),
        };
        call.write(request.metadata_mut());
        request
    }

    pub(crate) fn record(&self, feature: &str, input: &Value) -> pb::CreateTaskRecordRequest {
        pb::CreateTaskRecordRequest {
            task_id: self.task_id.to_string(),
            user_id: self.user_id.to_string(),
            feature_id: feature.to_owned(),
            input_data: Some(structure(input)),
            amount: 1,
            saga_id: self.saga_id.to_string(),
        }
    }

    pub(crate) async fn create(
        &self,
        feature: &str,
        input: Value,
    ) -> Result<Response<pb::CreateTaskRecordResponse>, Status> {
        let request = self.call("CREATE_TASK", Op::Action, self.record(feature, &input));
        self.steps.clone().create_task_record(request).await
    }

    pub(crate) async fn run_pipeline(&self) -> Result<Response<pb::RunPipelineResponse>, Status> {
        let message = pb::RunPipelineRequest {
            task_id: self.task_id.to_string(),
        };
        let request = self.call("RUN_PIPELINE", Op::Action, message);
        self.steps.clone().run_pipeline(request).await
    }

    pub(crate) async fn stop_pipeline(
        &self,
        cause: &str,
    ) -> Result<Response<pb::StopPipelineResponse>, Status> {
        let message = pb::StopPipelineRequest {
            task_id: self.task_id.to_string(),
            cause: cause.to_owned(),
        };
        let request = self.call("RUN_PIPELINE", Op::Compensation, message);
        self.steps.clone().stop_pipeline(request).await
    }

    pub(crate) async fn mark_failing(&self) -> Result<Response<pb::MarkTaskFailingResponse>, Status> {
        let message = pb::MarkTaskFailingRequest {
            task_id: self.task_id.to_string(),
            cause: "REFUSED".to_owned(),
        };
        let request = self.call("CREATE_TASK", Op::Compensation, message);
        self.steps.clone().mark_task_failing(request).await
    }

    pub(crate) async fn complete(
        &self,
        result: &Value,
    ) -> Result<Response<pb::CompleteTaskResponse>, Status> {
        let message = pb::CompleteTaskRequest {
            task_id: self.task_id.to_string(),
            result: Some(structure(result)),
        };
        let request = self.call("COMPLETE_TASK", Op::Action, message);
        self.steps.clone().complete_task(request).await
    }

    pub(crate) async fn finish(&self, cause: &str) -> Result<Response<pb::FinishFailedTaskResponse>, Status> {
        let message = pb::FinishFailedTaskRequest {
            task_id: self.task_id.to_string(),
            cause: cause.to_owned(),
            failed_step: "RUN_PIPELINE".to_owned(),
            error: "as told".to_owned(),
        };
        let request = self.call("FINISH", Op::Action, message);
        self.steps.clone().finish_failed_task(request).await
    }

    /// Looks until the pipeline has ended.
    pub(crate) async fn end(&self) -> Result<Value, Status> {
        eventually(DEADLINE, || async {
            match self.run_pipeline().await {
                Ok(answer) if rpc::step::pending(answer.metadata()).is_some() => None,
                Ok(answer) => Some(Ok(value(&answer.into_inner().result.unwrap()))),
                Err(status) => Some(Err(status)),
            }
        })
        .await
    }
}

/// Returns the reason of a status.
pub(crate) fn reason(status: &Status) -> String {
    let info = rpc::error::info(status).unwrap_or_else(|| panic!("no reason: {status:?}"));
    assert!(info.domain.ends_with(".evenkeel"), "{info:?}");
    info.reason
}

/// Turns a JSON object into a Struct, the long way round.
pub(crate) fn structure(object: &Value) -> prost_types::Struct {
    let fields = object.as_object().expect("an object");
    prost_types::Struct {
        fields: fields.iter().map(|(k, v)| (k.clone(), pb_value(v))).collect(),
    }
}

fn pb_value(value: &Value) -> prost_types::Value {
    use prost_types::value::Kind;
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(b) => Kind::BoolValue(*b),
        Value::Number(n) => Kind::NumberValue(n.as_f64().unwrap()),
        Value::String(s) => Kind::StringValue(s.clone()),
        Value::Array(items) => Kind::ListValue(prost_types::ListValue {
            values: items.iter().map(pb_value).collect(),
        }),
        Value::Object(_) => Kind::StructValue(structure(value)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// Turns a Struct into JSON.
pub(crate) fn value(object: &prost_types::Struct) -> Value {
    let fields = object.fields.iter();
    Value::Object(fields.map(|(k, v)| (k.clone(), json_value(v))).collect())
}

fn json_value(value_: &prost_types::Value) -> Value {
    use prost_types::value::Kind;
    match value_.kind.as_ref().unwrap() {
        Kind::NullValue(_) => Value::Null,
        Kind::BoolValue(b) => json!(b),
        Kind::NumberValue(n) => json!(n),
        Kind::StringValue(s) => json!(s),
        Kind::ListValue(list) => list.values.iter().map(json_value).collect(),
        Kind::StructValue(object) => value(object),
    }
}
