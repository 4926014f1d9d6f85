//! Binds the listeners of a service, builds it, and runs it under a supervisor.

use std::convert::Infallible;
use std::net::SocketAddr;

use ::events::Broker;
use futures::future::BoxFuture;
use kv::Kv;
use process::Supervisor;
use process::grpc::{self, Limits, Listener};
use process::health::{Health, Readiness};
use process::pool::{self, PoolGauge, REPORT_INTERVAL};
use proto::quota::v1::quota_service_client::QuotaServiceClient;
use proto::saga::v1::completion_service_client::CompletionServiceClient;
use proto::saga::v1::saga_service_client::SagaServiceClient;
use rpc::channel::EndpointError;
use token::{Credentials, Guard};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use super::identity::{Keys, fetched, store};
use super::settings::{Name, Settings};
use super::{database, events, providers, sealing};
use crate::exit::{Code, Failure};
use crate::identity;

/// Definitions that ship with this binary, by file name; the orchestrator registers and activates them at its start.
pub(crate) const SHIPPED: [&[(&str, &str)]; 2] = [task::SAGAS, billing::SAGAS];

/// A service whose keys are read and whose ports are taken, before anything is claimed or started.
#[derive(Debug)]
pub(crate) struct Bound {
    name: Name,
    keys: Keys,
    public: Listener,
    steps: Option<Listener>,
}

impl Bound {
    /// Reads the keys and takes the ports of a service.
    ///
    /// # Errors
    /// There are no keys, the certificate cannot be used, or a port is taken or may not be used.
    pub(crate) fn bind(name: Name, settings: &Settings) -> Result<Self, Failure> {
        let keys = Keys::open(name, settings)?;
        let bind = |address| {
            let listener = bind(name.text(), address)?;
            Ok::<_, Failure>(match &keys.mutual {
                // Clients outside have no certificates of ours; TLS towards them is the ingress's.
                Some(mutual) if name != Name::Gateway => listener.secured(mutual.clone()),
                Some(_) | None => listener,
            })
        };
        let public = bind(settings.listen.public(name))?;
        let steps = settings.listen.steps(name).map(bind).transpose()?;
        Ok(Self {
            name,
            keys,
            public,
            steps,
        })
    }

    /// Address of the public side, with its real port.
    pub(crate) fn public(&self) -> SocketAddr {
        self.public.local_addr()
    }

    /// URL of the public side.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.public.scheme(), self.public.local_addr())
    }

    /// Address on which steps are answered, with its real port.
    pub(crate) fn steps(&self) -> Option<SocketAddr> {
        self.steps.as_ref().map(Listener::local_addr)
    }

    /// As whom it calls others.
    pub(crate) fn credentials(&self) -> Credentials {
        self.keys.credentials.clone()
    }

    /// Which service it is.
    pub(crate) const fn name(&self) -> Name {
        self.name
    }
}

pub(super) fn bind(name: &str, address: SocketAddr) -> Result<Listener, Failure> {
    Listener::bind(address).map_err(|error| {
        Failure::unavailable(format!("{name} cannot listen on {address}"))
            .because(&error)
            .next("choose another address with --listen, or other ports with --port-base (0 takes free ones)")
    })
}

/// Builds a service and runs it until the supervisor's order to end. Returns whether it is ready.
///
/// # Errors
/// Wrong configuration, or a database that does not answer.
pub(crate) async fn start(
    bound: Bound,
    settings: &Settings,
    broker: &Broker,
    supervisor: &Supervisor,
) -> Result<Readiness, Failure> {
    let store = store(bound.name, settings, supervisor).await?;
    bound.keys.watch(supervisor);
    let dialer = bound.keys.credentials.dialer().clone();
    let guard = |users| bound.keys.guard(users, store.clone());
    let unguarded =
        |error: &dyn std::error::Error| Failure::config("the API cannot be guarded").because(error);
    let readiness = match bound.name {
        Name::Auth => {
            let pool = database::pool(Name::Auth, &settings.database).await?;
            let quota = dialer
                .lazy(&settings.peers.quota)
                .map_err(|error| Failure::config("peers.quota is wrong").because(&error))?;
            let deps = auth::Deps {
                pool: pool.clone(),
                kv: store.clone(),
                // Asked in the name of the user, whose token goes with the call.
                quota: Some(QuotaServiceClient::new(quota)),
            };
            let service = auth::build(settings.auth.clone(), deps)
                .await
                .map_err(|error| Failure::config("the auth service cannot be built").because(&error))?;
            let layer = guard(service.user_keys)
                .layer(&auth::SERVICES)
                .map_err(|error| unguarded(&error))?;
            let outbox = pool.pool().clone();
            events::relay(broker, "auth", auth::SCHEMA, outbox, auth::FACTS, supervisor);
            let parts = Parts {
                public: layer.guard(service.public),
                steps: None,
                pool,
                steps_pool: None,
            };
            let readiness = run(bound, parts, settings, supervisor).await;
            for job in service.jobs {
                supervise(job.name, job.run, supervisor);
            }
            readiness
        }
        Name::Quota => {
            let (pool, steps_pool) = database::pools(Name::Quota, &settings.database).await?;
            let deps = quota::Deps {
                pool: pool.clone(),
                steps_pool: steps_pool.clone(),
                guard: guard(fetched(settings, &dialer)?),
            };
            let outbox = pool.pool().clone();
            events::relay(broker, "quota", quota::SCHEMA, outbox, quota::FACTS, supervisor);
            let service = quota::build(&settings.quota, deps)
                .map_err(|error| Failure::config("the quota service cannot be built").because(&error))?;
            let parts = Parts {
                public: service.public,
                steps: Some(service.steps),
                pool,
                steps_pool: Some(steps_pool),
            };
            let readiness = run(bound, parts, settings, supervisor).await;
            for job in service.jobs {
                supervise(job.name, job.run, supervisor);
            }
            readiness
        }
        Name::Task => {
            let (pool, steps_pool) = database::pools(Name::Task, &settings.database).await?;
            let channel = bound
                .credentials()
                .connect(&settings.peers.saga, identity::name(Name::Saga.text())?)
                .map_err(|error| Failure::config("peers.saga is wrong").because(&error))?;
            let sagas = SagaServiceClient::new(channel);
            let deps = task::Deps {
                pool: pool.clone(),
                steps_pool: steps_pool.clone(),
                sagas,
                broker: broker.clone(),
                guard: guard(fetched(settings, &dialer)?),
            };
            let service = task::build(settings.task.clone(), deps)
                .map_err(|error| Failure::config("the task service cannot be built").because(&error))?;
            let outbox = pool.pool().clone();
            events::relay(broker, "task", task::SCHEMA, outbox, task::FACTS, supervisor);
            let parts = Parts {
                public: service.public,
                steps: Some(service.steps),
                pool,
                steps_pool: Some(steps_pool),
            };
            let readiness = run(bound, parts, settings, supervisor).await;
            for job in service.jobs {
                supervise(job.name, job.run, supervisor);
            }
            readiness
        }
        Name::Billing => {
            let (pool, steps_pool) = database::pools(Name::Billing, &settings.database).await?;
            let channel = bound
                .credentials()
                .connect(&settings.peers.saga, identity::name(Name::Saga.text())?)
                .map_err(|error| Failure::config("peers.saga is wrong").because(&error))?;
            let kms = sealing::open(settings)?;
            let deps = billing::Deps {
                pool: pool.clone(),
                steps_pool: steps_pool.clone(),
                sagas: SagaServiceClient::new(channel.clone()),
                completions: CompletionServiceClient::new(channel),
                providers: providers::clients(&settings.providers, &kms).await?,
                guard: guard(fetched(settings, &dialer)?),
                kms,
            };
            let service = billing::build(settings.billing.clone(), deps)
                .map_err(|error| Failure::config("the billing service cannot be built").because(&error))?;
            let outbox = pool.pool().clone();
            events::relay(
                broker,
                "billing",
                billing::SCHEMA,
                outbox,
                billing::FACTS,
                supervisor,
            );
            let parts = Parts {
                public: service.public,
                steps: Some(service.steps),
                pool,
                steps_pool: Some(steps_pool),
            };
            let readiness = run(bound, parts, settings, supervisor).await;
            for job in service.jobs {
                supervise(job.name, job.run, supervisor);
            }
            readiness
        }
        Name::Saga => {
            let guard = guard(fetched(settings, &dialer)?);
            start_saga(bound, guard, settings, supervisor)?
        }
        Name::Gateway => {
            let guard = guard(fetched(settings, &dialer)?);
            start_gateway(bound, guard, store, settings, supervisor).await?
        }
    };
    Ok(readiness)
}

/// Runs background work until the order to end.
fn supervise(
    name: &'static str,
    run: impl FnOnce(CancellationToken) -> BoxFuture<'static, ()>,
    supervisor: &Supervisor,
) {
    let work = run(supervisor.shutdown().token());
    supervisor.spawn(name, async move {
        work.await;
        Ok::<_, Infallible>(())
    });
}

/// What a built service consists of.
struct Parts {
    public: Routes,
    steps: Option<Routes>,
    pool: PoolGauge,
    steps_pool: Option<PoolGauge>,
}

async fn run(bound: Bound, parts: Parts, settings: &Settings, supervisor: &Supervisor) -> Readiness {
    let health = Health::new().await;
    health.follow_database(parts.pool.pool().clone(), supervisor);
    let name = bound.name.text();
    let steps_name = bound.name.steps_text();
    pool::spawn_report(parts.pool, REPORT_INTERVAL, supervisor);
    if let Some(steps_pool) = parts.steps_pool {
        pool::spawn_report(steps_pool, REPORT_INTERVAL, supervisor);
    }
    let serve = |name, listener, routes, limits: &Limits| {
        let (health, shutdown, limits) = (health.clone(), supervisor.shutdown().clone(), limits.clone());
        supervisor.spawn(name, async move {
            grpc::serve(name, listener, routes, &health, &shutdown, &limits).await
        });
    };
    serve(name, bound.public, parts.public, &settings.limits.public);
    if let (Some(listener), Some(routes)) = (bound.steps, parts.steps) {
        serve(steps_name, listener, routes, &settings.limits.steps);
    }
    health.readiness()
}

/// Runs the orchestrator. It has a thread and a runtime of its own; only its end is watched here.
fn start_saga(
    bound: Bound,
    guard: Guard,
    settings: &Settings,
    supervisor: &Supervisor,
) -> Result<Readiness, Failure> {
    let mut config = settings.saga.clone();
    if config.pool.url.is_empty() {
        config.pool.url.clone_from(&settings.database.url);
    }
    let deps = saga::Deps {
        guard,
        credentials: bound.credentials(),
        listener: bound.public,
        shutdown: supervisor.shutdown().clone(),
        events: Some(events::of_saga(settings)),
        definitions: SHIPPED
            .into_iter()
            .flatten()
            .map(|(file, source)| ((*file).to_owned(), (*source).to_owned()))
            .collect(),
    };
    let running = saga::spawn(config, deps)
        .map_err(|error| Failure::config("the orchestrator cannot be started").because(&error))?;
    let readiness = running.readiness();
    supervisor.spawn("saga", running.join());
    Ok(readiness)
}

/// Streams that the gateway opens on one connection to the task service, which allows 1,024.
const WATCHES_PER_CONNECTION: usize = 800;

/// Runs the gateway. It is ready as soon as it listens: it has no database, and a service that is away is the answer 503.
async fn start_gateway(
    bound: Bound,
    guard: Guard,
    store: Kv,
    settings: &Settings,
    supervisor: &Supervisor,
) -> Result<Readiness, Failure> {
    let peers = &settings.peers;
    let credentials = bound.credentials();
    let wrong = |name: Name, error: EndpointError| {
        Failure::config(format!("peers.{} is wrong", name.text())).because(&error)
    };
    let peer = |name: Name, url: &str| {
        let channel = credentials.dialer().lazy(url);
        channel.map_err(|error| wrong(name, error))
    };
    let upstreams = [
        (Name::Auth, &peers.auth),
        (Name::Quota, &peers.quota),
        (Name::Task, &peers.task),
        (Name::Billing, &peers.billing),
        (Name::Saga, &peers.saga),
    ];
    let upstreams = upstreams
        .into_iter()
        .map(|(name, url)| Ok((format!("evenkeel.{}.v1", name.text()), peer(name, url)?)))
        .collect::<Result<_, Failure>>()?;
    let audience = identity::name(Name::Task.text())?;
    let connections = settings.gateway.watch.max.div_ceil(WATCHES_PER_CONNECTION);
    let watch = (0..connections)
        .map(|_| {
            let channel = credentials.connect(&peers.task, audience.clone());
            channel.map_err(|error| wrong(Name::Task, error))
        })
        .collect::<Result<_, Failure>>()?;
    let deps = gateway::Deps {
        upstreams,
        watch,
        guard,
        kv: store,
        shutdown: supervisor.shutdown().clone(),
    };
    let service = gateway::build(settings.gateway.clone(), deps)
        .map_err(|error| Failure::config("the gateway cannot be built").because(&error))?;
    let health = Health::new().await;
    let readiness = health.readiness();
    supervisor.spawn("gateway", service.serve(bound.public));
    let stop = supervisor.shutdown().token();
    supervisor.spawn("health", async move {
        health.set_ready(true).await;
        stop.cancelled().await;
        health.set_ready(false).await;
        Ok::<_, Infallible>(())
    });
    Ok(readiness)
}

/// Turns the end of a supervised process into a failure.
pub(crate) fn ended(failure: process::Failure) -> Failure {
    Failure::new(Code::Fenced, format!("this process has stopped: {failure}"))
        .next("start it again: nothing is lost; the log above has the cause")
}
