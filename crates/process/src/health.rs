//! Health as `grpc.health.v1` tells it: the name `live` is serving while the process runs; the empty name says whether it
//! is ready. Ready depends on the service's own database only, and ends with the order to end.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use crate::Supervisor;

/// Name under which liveness is asked for.
pub const LIVE: &str = "live";
/// Name under which readiness is asked for.
pub const READY: &str = "";
/// How often the database is asked.
const INTERVAL: Duration = Duration::from_secs(2);
/// A database that answers later counts as absent.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether a service is ready, for those that only ask. Clones share the state; not ready until its [`Health`] says so.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// Says whether the service is ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Health of one service, shared by its listeners. Not ready until told so. Clones share the state.
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
    readiness: Readiness,
}

impl Health {
    /// Makes a live service that is not ready.
    pub async fn new() -> Self {
        Self::with_readiness(Readiness::default()).await
    }

    /// Makes one whose readiness others have been given already.
    pub async fn with_readiness(readiness: Readiness) -> Self {
        let reporter = HealthReporter::new();
        reporter.set_service_status(LIVE, ServingStatus::Serving).await;
        reporter
            .set_service_status(READY, ServingStatus::NotServing)
            .await;
        Self { reporter, readiness }
    }

    /// Returns its readiness, for those that only ask.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Sets whether the service is ready.
    pub async fn set_ready(&self, ready: bool) {
        self.readiness.0.store(ready, Ordering::Relaxed);
        let status = if ready {
            ServingStatus::Serving
        } else {
            ServingStatus::NotServing
        };
        self.reporter.set_service_status(READY, status).await;
    }

    /// Sets readiness by asking the database every 2 s, until the order to end; then the service is not ready.
    pub fn follow_database(&self, pool: PgPool, supervisor: &Supervisor) {
        let (health, stop) = (self.clone(), supervisor.shutdown().token());
        supervisor.spawn("health", async move {
            let mut was_ready = None;
            loop {
                let asked = tokio::time::timeout(PATIENCE, sqlx::query("select 1").execute(&pool));
                let Some(answer) = stop.run_until_cancelled(asked).await else {
                    break;
                };
                let ready = matches!(answer, Ok(Ok(_)));
                if was_ready != Some(ready) {
                    tracing::info!(ready, "readiness");
                    was_ready = Some(ready);
                }
                health.set_ready(ready).await;
                if stop
                    .run_until_cancelled(tokio::time::sleep(INTERVAL))
                    .await
                    .is_none()
                {
                    break;
                }
            }
            health.set_ready(false).await;
            Ok::<_, Infallible>(())
        });
    }

    pub(crate) fn service(&self) -> HealthServer<HealthService> {
        HealthServer::new(HealthService::from_health_reporter(self.reporter.clone()))
    }
}
