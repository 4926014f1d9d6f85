//! The load: workers that each run one saga after another, closed loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use prost::Message;
use proto::bench::v1::baseline_service_client::BaselineServiceClient;
use proto::bench::v1::{BenchInput, RunSagaRequest};
use proto::saga::v1::saga_service_client::SagaServiceClient;
use proto::saga::v1::{
    SagaPhase, StartSagaRequest, WaitSagaRequest, WaitUntil, start_saga_request, wait_until,
};

use super::measure::Latencies;
use crate::exit::Failure;
use crate::identity::{Channel, Identity};

/// What is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Engine {
    /// The orchestrator of this repository.
    Evenkeel,
    /// One transaction before and one after each call.
    Baseline,
}

/// What is behind the steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Participants {
    /// Answers and keeps nothing.
    Stateless,
    /// A transaction with a barrier's row and a business row, on the same server.
    Barrier,
    /// The same rows, and calls that come at the same time share transactions.
    Batched,
}

/// How a saga is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Variant {
    /// Every step succeeds.
    Completed,
    /// The fourth step is refused; three compensations follow.
    Compensated,
}

/// What a latency is the latency of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Latency {
    /// From the start of the saga to its end.
    End,
    /// From the request to start the saga to the answer that it is durable; each worker then waits for the end.
    Start,
}

/// One measurement to take.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Who calls.
    pub(crate) identity: Identity,
    pub(crate) engine: Engine,
    pub(crate) participants: Participants,
    pub(crate) variant: Variant,
    pub(crate) url: String,
    pub(crate) concurrency: usize,
    pub(crate) payload_bytes: usize,
    pub(crate) latency: Latency,
}

/// Workers share this many connections at most; one HTTP/2 connection carries many calls, but not without limit.
const MAX_CONNECTIONS: usize = 8;
const SAGA_BOUND: Duration = Duration::from_secs(30);

impl Load {
    /// Runs sagas for `warmup`, then for `measured`; returns the latencies of those that ended in the latter.
    ///
    /// `at_start` and `at_end` run at the edges of the measured time.
    ///
    /// # Errors
    /// If any saga fails, or does not end as it should.
    pub(crate) async fn run<T>(
        &self,
        warmup: Duration,
        measured: Duration,
        mut edge: impl AsyncFnMut() -> Result<T, Failure>,
    ) -> Result<(Latencies, T, T), Failure> {
        let channels = self.concurrency.min(MAX_CONNECTIONS);
        let channels: Vec<Channel> = (0..channels)
            .map(|_| self.identity.channel(&self.url, "saga"))
            .collect::<Result<_, _>>()?;
        let phase = Arc::new(AtomicU64::new(0));
        let workers: Vec<_> = (0..self.concurrency)
            .map(|i| {
                let worker = Worker {
                    load: self.clone(),
                    channel: channels[i % channels.len()].clone(),
                    phase: Arc::clone(&phase),
                };
                tokio::spawn(worker.run())
            })
            .collect();
        tokio::time::sleep(warmup).await;
        let before = edge().await?;
        let began = Instant::now();
        phase.store(1, Ordering::Relaxed);
        tokio::time::sleep(measured).await;
        phase.store(2, Ordering::Relaxed);
        let took = began.elapsed();
        let after = edge().await?;
        let mut all = Latencies::new(took);
        for worker in workers {
            let latencies = worker
                .await
                .map_err(|e| Failure::unavailable("a load worker died").because(&e))?
                .map_err(|e| Failure::unavailable("a saga of the load failed").because(&e))?;
            all.extend(latencies);
        }
        Ok((all, before, after))
    }
}

struct Worker {
    load: Load,
    channel: Channel,
    phase: Arc<AtomicU64>,
}

impl Worker {
    async fn run(self) -> Result<Vec<Duration>, tonic::Status> {
        let payload = "x".repeat(self.load.payload_bytes);
        let refuse_step = match self.load.variant {
            Variant::Completed => 0,
            Variant::Compensated => 4,
        };
        let mut latencies = Vec::new();
        loop {
            let phase = self.phase.load(Ordering::Relaxed);
            if phase == 2 {
                return Ok(latencies);
            }
            let began = Instant::now();
            let (completed, latency) = match self.load.engine {
                Engine::Evenkeel => self.evenkeel(&payload, refuse_step, began).await?,
                Engine::Baseline => {
                    let request = RunSagaRequest {
                        payload: payload.clone(),
                        refuse_step,
                    };
                    let mut client = BaselineServiceClient::new(self.channel.clone());
                    let answer = client.run_saga(request).await?.into_inner();
                    (answer.completed, began.elapsed())
                }
            };
            if completed != (refuse_step == 0) {
                return Err(tonic::Status::internal(
                    "a saga ended otherwise than the load asked for",
                ));
            }
            if phase == 1 {
                latencies.push(latency);
            }
        }
    }

    /// Runs one saga; tells whether it completed, and the latency that was asked for.
    async fn evenkeel(
        &self,
        payload: &str,
        refuse_step: u32,
        began: Instant,
    ) -> Result<(bool, Duration), tonic::Status> {
        let input = BenchInput {
            payload: payload.to_owned(),
            refuse_step,
        };
        let message = prost_types::Any {
            type_url: "type.googleapis.com/evenkeel.bench.v1.BenchInput".to_owned(),
            value: input.encode_to_vec(),
        };
        let until_end = WaitUntil {
            until: Some(wait_until::Until::End(true)),
            timeout: Some(prost_types::Duration::try_from(SAGA_BOUND).unwrap_or_default()),
        };
        let request = StartSagaRequest {
            r#type: "BENCH_FOUR".to_owned(),
            business_id: uuid::Uuid::now_v7().simple().to_string(),
            input: Some(start_saga_request::Input::Message(message)),
            wait: (self.load.latency == Latency::End).then(|| until_end.clone()),
        };
        let mut client = SagaServiceClient::new(self.channel.clone());
        let started = client.start_saga(request).await?.into_inner().saga;
        let latency = began.elapsed();
        let saga = match (self.load.latency, started) {
            (Latency::Start, Some(started)) => {
                let request = WaitSagaRequest {
                    saga_id: started.saga_id,
                    wait: Some(until_end),
                };
                client.wait_saga(request).await?.into_inner().saga
            }
            (Latency::Start | Latency::End, started) => started,
        };
        match saga.unwrap_or_default().phase() {
            SagaPhase::Completed => Ok((true, latency)),
            SagaPhase::Compensated => Ok((false, latency)),
            SagaPhase::Unspecified | SagaPhase::Running | SagaPhase::Compensating | SagaPhase::Resolved => {
                Err(tonic::Status::deadline_exceeded("a saga did not end in time"))
            }
        }
    }
}
