//! Binds the listeners of a service, builds it, and runs it under a supervisor.

use std::convert::Infallible;
use std::net::SocketAddr;

use process::grpc::{self, Listener};
use process::health::Health;
use process::pool::{self, PoolGauge, REPORT_INTERVAL};
use process::{Job, Supervisor};
use proto::saga::v1::saga_service_client::SagaServiceClient;
use sqlx::PgPool;
use tonic::service::Routes;

use super::database;
use super::settings::{Name, Settings};
use crate::exit::Failure;

/// A service whose ports are taken. Ports are bound before anything is claimed or started.
#[derive(Debug)]
pub(crate) struct Bound {
    name: Name,
    public: Listener,
    steps: Option<Listener>,
}

impl Bound {
    /// Takes the ports of a service.
    ///
    /// # Errors
    /// A port is taken or may not be used.
    pub(crate) fn bind(name: Name, settings: &Settings) -> Result<Self, Failure> {
        Ok(Self {
            name,
            public: bind(name.text(), settings.listen.public(name))?,
            steps: settings.listen.steps(name).map(|address| bind(name.text(), address)).transpose()?,
        })
    }

    /// Address of the public side, with its real port.
    pub(crate) fn public(&self) -> SocketAddr {
        self.public.local_addr()
    }

    /// Address on which steps are answered, with its real port.
    pub(crate) fn steps(&self) -> Option<SocketAddr> {
        self.steps.as_ref().map(Listener::local_addr)
    }

    /// Which service it is.
    pub(crate) const fn name(&self) -> Name {
        self.name
    }
}

fn bind(name: &str, address: SocketAddr) -> Result<Listener, Failure> {
    Listener::bind(address).map_err(|error| {
        Failure::unavailable(format!("{name} cannot listen on {address}"))
            .because(&error)
            .next("choose another address with --listen, or other ports with --port-base (0 takes free ones)")
    })
}

/// Builds a service and runs it until the supervisor's order to end.
///
/// # Errors
/// Wrong configuration, or a database that does not answer.
pub(crate) async fn start(bound: Bound, settings: &Settings, supervisor: &Supervisor) -> Result<(), Failure> {
    match bound.name {
        Name::Quota => {
            let (pool, steps_pool) = database::pools(Name::Quota, &settings.database).await?;
            let deps = quota::Deps { pool: pool.clone(), steps_pool: steps_pool.clone() };
            let service = quota::build(&settings.quota, deps);
            let parts = Parts { public: service.public, steps: service.steps, pool, steps_pool };
            run(bound, parts, settings, supervisor).await;
        }
        Name::Task => {
            let (pool, steps_pool) = database::pools(Name::Task, &settings.database).await?;
            let channel = rpc::channel::lazy(&settings.peers.saga)
                .map_err(|error| Failure::config("peers.saga is wrong").because(&error))?;
            let sagas = SagaServiceClient::new(channel);
            let deps = task::Deps { pool: pool.clone(), steps_pool: steps_pool.clone(), sagas };
            let service = task::build(settings.task.clone(), deps)
                .map_err(|error| Failure::config("the task service cannot be built").because(&error))?;
            let parts = Parts { public: service.public, steps: service.steps, jobs: service.jobs, pool, steps_pool };
            run(bound, parts, settings, supervisor).await;
        }
        Name::Saga => start_saga(bound, settings, supervisor).await?,
    }
    Ok(())
}

/// What a built service consists of.
struct Parts {
    public: Routes,
    steps: Option<Routes>,
    jobs: Vec<Job>,
    pool: PgPool,
    steps_pool: PgPool,
}

async fn run(bound: Bound, parts: Parts, settings: &Settings, supervisor: &Supervisor) {
    let health = Health::new().await;
    health.follow_database(parts.pool.clone(), supervisor);
    let (name, steps_name) = match bound.name {
        Name::Quota => ("quota", "quota-steps"),
        Name::Task => ("task", "task-steps"),
        Name::Saga => ("saga", "saga-steps"),
    };
    pool::spawn_report(PoolGauge::new(name, parts.pool), REPORT_INTERVAL, supervisor);
    pool::spawn_report(PoolGauge::new(steps_name, parts.steps_pool), REPORT_INTERVAL, supervisor);
    let sides = [
        (name, Some(bound.public), Some(parts.public), settings.limits.public.clone()),
        (steps_name, bound.steps, parts.steps, settings.limits.steps.clone()),
    ];
    for (name, listener, routes, limits) in sides {
        if let (Some(listener), Some(routes)) = (listener, routes) {
            let (health, shutdown) = (health.clone(), supervisor.shutdown().clone());
            supervisor.spawn(name, async move {
                grpc::serve(name, listener, routes, &health, &shutdown, &limits).await
            });
        }
    }
    for job in parts.jobs {
        let stop = supervisor.shutdown().token();
        supervisor.spawn(job.name, async move {
            (job.run)(stop).await;
            Ok::<_, Infallible>(())
        });
    }
}
