//! A running orchestrator with a participant and a database of its own.

use std::collections::BTreeMap;
use std::time::Duration;

use process::Shutdown;
use process::grpc::Listener;
use proto::saga::v1 as pb;
use proto::saga::v1::saga_service_client::SagaServiceClient;
use saga::{Config, Deps, Error, Running, participants};
use test_support::{TestDatabase, identities};
use token::Channel;
use tonic::Status;

use crate::participant::{DOMAIN, Participant};

/// Long enough for anything a test waits for.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Two compensatable steps, a pivot, a retriable step, and a call after the last compensation.
pub(crate) const ORDERS: &str = r"
saga: ORDERS
version: 1
input: evenkeel.bench.v1.BenchInput
business_id: input.payload
deadline: 1h
retry: { retries: 3, initial: 10ms, factor: 2, max: 50ms }
timeout: 2s
steps:
  - name: ONE
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: input.payload, step: 1 }
    compensate: { call: evenkeel.bench.v1.BenchSteps/Undo, with: { payload: input.payload } }
  - name: TWO
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: steps.ONE.payload, step: 2 }
    compensate: { call: evenkeel.bench.v1.BenchSteps/Undo, with: { payload: saga.reason } }
  - name: PIVOT
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: input.payload, step: 3 }
    pivot: true
  - name: LAST
    call: evenkeel.bench.v1.BenchSteps/Work
    with: { payload: steps.TWO.payload, step: 4 }
on_compensated: { call: evenkeel.bench.v1.BenchSteps/Undo, with: { payload: saga.failed_step } }
";

pub(crate) fn config(database: &TestDatabase, participant: &Participant) -> Config {
    let steps = participants::Config {
        url: participant.url(),
        error_domain: DOMAIN.to_owned(),
        audience: None,
        descriptors: None,
        limit: None,
    };
    Config {
        participants: BTreeMap::from([("evenkeel.bench.v1".to_owned(), steps)]),
        pool: database.pool_config(),
        heartbeat: Duration::from_millis(100),
        lease: Duration::from_millis(500),
        ..Config::default()
    }
}

pub(crate) async fn database() -> TestDatabase {
    TestDatabase::create(&[(saga::SCHEMA, &saga::MIGRATOR)]).await
}

/// One instance.
pub(crate) struct Instance {
    pub(crate) client: SagaServiceClient<Channel>,
    pub(crate) shutdown: Shutdown,
    pub(crate) running: Running,
}

impl Instance {
    pub(crate) fn start(config: Config) -> Self {
        Self::start_with(config, None)
    }

    pub(crate) fn start_with(config: Config, events: Option<saga::Events>) -> Self {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let shutdown = Shutdown::new(Duration::from_secs(2));
        let deps = Deps {
            listener,
            guard: identities().guard("saga"),
            credentials: identities().credentials("saga"),
            shutdown: shutdown.clone(),
            events,
            definitions: vec![("orders.yaml".to_owned(), ORDERS.to_owned())],
        };
        let running = saga::spawn(config, deps).unwrap();
        let url = format!("http://{}", running.local_addr());
        Self {
            client: SagaServiceClient::new(identities().channel(&url, "operator", "saga")),
            shutdown,
            running,
        }
    }

    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.shutdown.trigger();
        self.running.join().await
    }

    pub(crate) async fn begin(&self, request: pb::StartSagaRequest) -> Result<pb::StartSagaResponse, Status> {
        self.client
            .clone()
            .start_saga(request)
            .await
            .map(tonic::Response::into_inner)
    }

    pub(crate) async fn get(&self, saga_id: &str) -> pb::GetSagaResponse {
        let request = pb::GetSagaRequest {
            saga_id: saga_id.to_owned(),
            with_history: true,
            ..pb::GetSagaRequest::default()
        };
        self.client.clone().get_saga(request).await.unwrap().into_inner()
    }

    pub(crate) async fn wait(
        &self,
        saga_id: &str,
        until: pb::WaitUntil,
    ) -> Result<pb::WaitSagaResponse, Status> {
        let request = pb::WaitSagaRequest {
            saga_id: saga_id.to_owned(),
            wait: Some(until),
        };
        self.client
            .clone()
            .wait_saga(request)
            .await
            .map(tonic::Response::into_inner)
    }

    pub(crate) async fn cancel(&self, saga_id: &str) -> Result<pb::Saga, Status> {
        let request = pb::CancelSagaRequest {
            saga_id: saga_id.to_owned(),
            reason: "changed my mind".to_owned(),
        };
        let response = self.client.clone().cancel_saga(request).await?;
        Ok(response.into_inner().saga.unwrap())
    }
}

pub(crate) fn request(payload: &str, wait: Option<pb::WaitUntil>) -> pb::StartSagaRequest {
    let json = serde_json::json!({ "payload": payload }).to_string();
    pb::StartSagaRequest {
        r#type: "ORDERS".to_owned(),
        business_id: String::new(),
        input: Some(pb::start_saga_request::Input::Json(json)),
        wait,
    }
}

pub(crate) fn until_end() -> pb::WaitUntil {
    until(pb::wait_until::Until::End(true))
}

pub(crate) fn until_step(step: &str) -> pb::WaitUntil {
    until(pb::wait_until::Until::Step(step.to_owned()))
}

pub(crate) fn until(until: pb::wait_until::Until) -> pb::WaitUntil {
    pb::WaitUntil {
        until: Some(until),
        timeout: Some(prost_types::Duration {
            seconds: 15,
            nanos: 0,
        }),
    }
}

/// Reason code of a refusal.
pub(crate) fn reason(status: &Status) -> String {
    let info = rpc::error::info(status).unwrap_or_else(|| panic!("no reason: {status:?}"));
    assert_eq!(info.domain, saga::DOMAIN);
    info.reason
}
