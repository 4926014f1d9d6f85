//! Calls of several kinds in turn, so that each kind sees the same machine at the same moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use proto::quota::v1::GetBalanceRequest;
use proto::quota::v1::quota_service_client::QuotaServiceClient;
use tokio::time::MissedTickBehavior;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

use super::measure::Latencies;
use crate::exit::{Code, Failure};

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Marks of the phases of a trial.
const WARMING: u8 = 0;
const MEASURED: u8 = 1;
const OVER: u8 = 2;

/// A way to make a call.
#[derive(Debug, Clone)]
pub(super) enum Way {
    /// GetBalance over gRPC, at the service itself.
    Grpc(QuotaServiceClient<Channel>),
    /// GetBalance through a gateway.
    Get { url: String },
    /// MarkNotificationsRead through a gateway: a transaction that changes nothing.
    Post { url: String, keyed: bool },
}

/// Who calls, and how.
#[derive(Debug, Clone)]
pub(super) struct Caller {
    /// Value of `authorization`.
    pub(super) bearer: String,
    pub(super) ways: Vec<Way>,
    pub(super) http: reqwest::Client,
}

impl Caller {
    /// Makes one call.
    ///
    /// # Errors
    /// Anything but the expected answer.
    pub(super) async fn call(&mut self, way: usize) -> Result<(), Failure> {
        match &mut self.ways[way] {
            Way::Grpc(client) => {
                let mut request = tonic::Request::new(GetBalanceRequest::default());
                request.set_timeout(CALL_TIMEOUT);
                let bearer: MetadataValue<Ascii> = self.bearer.parse().expect("tokens are ASCII");
                request.metadata_mut().insert("authorization", bearer);
                let answer = client.get_balance(request).await;
                answer.map_err(|e| Failure::new(Code::Failed, "GetBalance failed").because(&e))?;
                Ok(())
            }
            Way::Get { url } => {
                let request = self.http.get(format!("{url}/api/v1/quota"));
                answered(request, &self.bearer).await
            }
            Way::Post { url, keyed } => {
                let mut request = self
                    .http
                    .post(format!("{url}/api/v1/notifications/read"))
                    .header("content-type", "application/json")
                    .body(r#"{"all":true}"#);
                if *keyed {
                    let key = uuid::Uuid::now_v7().simple().to_string();
                    request = request.header("idempotency-key", key);
                }
                answered(request, &self.bearer).await
            }
        }
    }
}

async fn answered(request: reqwest::RequestBuilder, bearer: &str) -> Result<(), Failure> {
    let failed = |e: reqwest::Error| Failure::unavailable("the gateway does not answer").because(&e);
    let answer = request
        .header("authorization", bearer)
        .send()
        .await
        .map_err(failed)?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(failed)?;
    if status.is_success() {
        return Ok(());
    }
    Err(
        Failure::new(Code::Failed, format!("the gateway answered {status}"))
            .detail(String::from_utf8_lossy(&body).into_owned()),
    )
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial {
    /// Calls of each way a second; `None`: each worker calls again as soon as it is answered.
    pub(super) rate: Option<u32>,
    pub(super) warmup: Duration,
    pub(super) measured: Duration,
}

impl Trial {
    /// Lets every caller make calls of all ways in turn. Returns the latencies of each way; `edge` runs at the two edges of
    /// the measured time.
    ///
    /// # Errors
    /// Any call fails.
    pub(super) async fn run<T>(
        self,
        callers: &[Caller],
        mut edge: impl FnMut() -> T,
    ) -> Result<(Vec<Latencies>, T, T), Failure> {
        let phase = Arc::new(AtomicU8::new(WARMING));
        let workers: Vec<_> = callers
            .iter()
            .enumerate()
            .map(|(place, caller)| {
                let worker = Worker {
                    place,
                    all: callers.len(),
                    caller: caller.clone(),
                    rate: self.rate,
                    phase: Arc::clone(&phase),
                };
                tokio::spawn(worker.run())
            })
            .collect();
        tokio::time::sleep(self.warmup).await;
        let before = edge();
        let began = Instant::now();
        phase.store(MEASURED, Ordering::Relaxed);
        tokio::time::sleep(self.measured).await;
        phase.store(OVER, Ordering::Relaxed);
        let took = began.elapsed();
        let after = edge();
        let ways = callers.first().map_or(0, |caller| caller.ways.len());
        let mut all: Vec<Latencies> = (0..ways).map(|_| Latencies::new(took)).collect();
        for worker in workers {
            let found = worker
                .await
                .map_err(|e| Failure::unavailable("a load worker died").because(&e))??;
            for (all, found) in all.iter_mut().zip(found) {
                all.extend(found);
            }
        }
        Ok((all, before, after))
    }
}

struct Worker {
    place: usize,
    all: usize,
    caller: Caller,
    rate: Option<u32>,
    phase: Arc<AtomicU8>,
}

impl Worker {
    async fn run(mut self) -> Result<Vec<Vec<Duration>>, Failure> {
        let ways = self.caller.ways.len();
        let mut latencies = vec![Vec::new(); ways];
        let mut pace = self.pace(ways);
        // Not all begin with the same way.
        for way in (0..ways).cycle().skip(self.place % ways) {
            if let Some(pace) = &mut pace {
                pace.tick().await;
            }
            let phase = self.phase.load(Ordering::Relaxed);
            if phase == OVER {
                break;
            }
            let began = Instant::now();
            self.caller.call(way).await?;
            if phase == MEASURED {
                latencies[way].push(began.elapsed());
            }
        }
        Ok(latencies)
    }

    /// When this worker makes its calls: as often as all others, between theirs.
    fn pace(&self, ways: usize) -> Option<tokio::time::Interval> {
        let calls = f64::from(self.rate?) * f64::from(u32::try_from(ways).unwrap_or(u32::MAX));
        let all = f64::from(u32::try_from(self.all).unwrap_or(u32::MAX));
        let place = f64::from(u32::try_from(self.place).unwrap_or(u32::MAX));
        let period = Duration::from_secs_f64(all / calls);
        let first = tokio::time::Instant::now() + period.mul_f64(place / all);
        let mut pace = tokio::time::interval_at(first, period);
        // A late call must not be followed by a burst.
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Some(pace)
    }
}
