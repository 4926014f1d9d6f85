//! Wiring and life of one instance.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use events::{Broker, Consumer, Job, Relay};
use futures::FutureExt as _;
use process::grpc::Listener;
use process::health::{Health, Readiness};
use process::{PoolConfig, PoolGauge, Shutdown, Supervisor};
use saga_definition::ProblemKind;
use saga_engine::{Engine, Stopped, SystemClock};
use sqlx::PgPool;
use token::{AccessError, Credentials, Guard};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

use crate::app::{App, Peers, REPLIES, follow_replies};
use crate::config::Config;
use crate::definitions::{self, Definitions};
use crate::journal::{self, Operators, PgJournal, Reader};
use crate::participants::{ConfigError, GrpcParticipants, Outbox, Targets};
use crate::tokens::{self, Tokens};
use crate::{SCHEMA, grpc};

/// What the journal tells everybody, whether somebody listens or not.
const FACTS: &[&str] = &["saga.completed", "saga.compensated", "saga.attention"];
/// Who registers the definitions that ship with the program.
const BUILT_IN_ACTOR: &str = "evenkeel";

/// What an instance needs besides its settings.
#[derive(Debug)]
pub struct Deps {
    /// Bound port of the API.
    pub listener: Listener,
    /// Who may call.
    pub guard: Guard,
    /// What it shows to participants and to other instances.
    pub credentials: Credentials,
    /// The order to end.
    pub shutdown: Shutdown,
    /// Where published requests go and answers come from. Without it this instance neither publishes its outbox nor takes
    /// answers, which is for others to do then.
    pub events: Option<Events>,
    /// Definitions to register and activate at the start: a name for messages, and the text.
    pub definitions: Vec<(String, String)>,
}

/// The broker, as settings: an instance makes its own connections, which live as long as its thread. The instance's own
/// pool should have 4 connections at least.
#[derive(Debug)]
pub struct Events {
    /// Which broker, and how it is used.
    pub config: events::Config,
    /// Connections on the schema of the broker's own tables; at least 2.
    pub pool: PoolConfig,
}

/// An instance did not start, or ended before it was told to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings are not usable.
    #[error("saga: {0}")]
    Config(String),
    /// A method of the contract does not say who may call it.
    #[error("saga: the API cannot be guarded")]
    Access(#[from] AccessError),
    /// The participants' settings are not usable.
    #[error("saga: the participants are not usable")]
    Participants(#[from] ConfigError),
    /// The database cannot be reached.
    #[error("saga: the database cannot be reached")]
    Pool(#[from] process::pool::Error),
    /// The journal cannot be opened.
    #[error("saga: the journal cannot be opened")]
    Journal(#[from] journal::OpenError),
    /// The keys of completion tokens cannot be had.
    #[error("saga: completion tokens cannot be made")]
    Tokens(#[from] tokens::Error),
    /// The broker's settings are not usable.
    #[error("saga: answers to published requests cannot be taken")]
    Events(#[from] events::Error),
    /// A definition that ships with the program has mistakes.
    #[error("saga: {name} has mistakes:\n{problems}")]
    BuiltIn {
        /// Where it came from.
        name: String,
        /// The mistakes, one a line.
        problems: String,
    },
    /// A definition that ships with the program cannot be registered.
    #[error("saga: {name} cannot be registered")]
    Register {
        /// Where it came from.
        name: String,
        /// The cause.
        #[source]
        source: definitions::Error,
    },
    /// The API's listener failed.
    #[error("saga: the API ended")]
    Serve(#[from] process::grpc::Error),
    /// The thread or its runtime cannot be made.
    #[error("saga: the thread cannot be started")]
    Thread(#[source] std::io::Error),
    /// Another process has this instance's place. The process must end with a code that says so.
    #[error("saga: this instance was taken over by another; it must end")]
    Fenced,
    /// The instance's thread panicked.
    #[error("saga: the instance's thread panicked")]
    Panicked,
}

/// A running instance.
#[derive(Debug)]
pub struct Running {
    local_addr: SocketAddr,
    readiness: Readiness,
    ended: oneshot::Receiver<Result<(), Error>>,
}

impl Running {
    /// Returns the address of the API.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Returns whether it is ready: whether its database answers.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.readiness.clone()
    }

    /// Waits until the instance has ended.
    ///
    /// # Errors
    /// It did not start, or ended before it was told to.
    pub async fn join(self) -> Result<(), Error> {
        self.ended.await.unwrap_or(Err(Error::Panicked))
    }
}

/// Starts an instance on a thread of its own.
///
/// # Errors
/// The settings are not usable, or the thread cannot be started. Everything else is told by [`Running::join`].
pub fn spawn(config: Config, deps: Deps) -> Result<Running, Error> {
    config.check().map_err(Error::Config)?;
    let local_addr = deps.listener.local_addr();
    let readiness = Readiness::default();
    let told = readiness.clone();
    let (end, ended) = oneshot::channel();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Error::Thread)?;
    std::thread::Builder::new()
        .name("saga".to_owned())
        .spawn(move || {
            let result = runtime.block_on(run(config, deps, told));
            // Whoever started it may not wait for its end.
            let _ = end.send(result);
        })
        .map_err(Error::Thread)?;
    Ok(Running {
        local_addr,
        readiness,
        ended,
    })
}

async fn run(config: Config, deps: Deps, readiness: Readiness) -> Result<(), Error> {
    let Deps {
        listener,
        guard,
        credentials,
        shutdown,
        events,
        definitions: built_in,
    } = deps;
    let layer = guard.layer(&grpc::SERVICES)?;
    let names = Names::of(&config, listener.scheme(), listener.local_addr());
    let pool = process::pool::connect(SCHEMA, SCHEMA, &config.pool).await?;
    let targets = Targets::open(&config.participants, &credentials)?;
    let attention_wait_ms = millis(config.attention_wait);
    let definitions = Arc::new(Definitions::new(pool.clone(), targets, attention_wait_ms));

    let journal_config = journal::Config {
        instance: names.instance.clone(),
        address: names.address,
        lease: config.lease,
        lanes: config.lanes,
    };
    let options = pool.connect_options();
    let journal = PgJournal::open(&options, &journal_config, Arc::clone(&definitions)).await?;
    for (name, source) in &built_in {
        register(&definitions, name, source).await?;
    }

    let engine_config = saga_engine::Config {
        lanes: config.lanes,
        max_live: config.max_live_sagas,
        max_calls: config.max_calls,
        participant_limit: config.max_calls_per_participant,
        heartbeat: config.heartbeat,
        lease: config.lease,
        drain: shutdown.drain(),
        ..saga_engine::Config::default()
    };
    let tokens = Arc::new(Tokens::open(&pool).await?);
    let broker = match events {
        Some(Events {
            config: settings,
            pool,
        }) => {
            let pool = process::pool::connect("saga events", events::SCHEMA, &pool).await?;
            let concurrency = settings.concurrency.min(handlers(config.pool.max));
            Some(Broker::new(
                events::Config {
                    concurrency,
                    ..settings
                },
                pool,
            )?)
        }
        None => None,
    };
    let relaying = broker.as_ref().map(|broker| {
        broker.relay(Relay {
            service: SCHEMA,
            schema: SCHEMA,
            pool: pool.clone(),
            facts: FACTS,
        })
    });
    let outbox = Outbox {
        pool: pool.clone(),
        wake: relaying.as_ref().map(|relaying| relaying.wake.clone()),
    };
    let participants = GrpcParticipants::new(Arc::clone(&definitions), Arc::clone(&tokens), outbox);
    let (handle, engine) = Engine::new(
        engine_config,
        Arc::new(journal),
        Arc::new(participants),
        Arc::new(SystemClock),
    );
    let stop = CancellationToken::new();
    let mut engine = tokio::spawn(engine.run(stop.clone().cancelled_owned()));

    let app = Arc::new(App {
        engine: handle,
        definitions,
        reader: Reader::new(pool.clone()),
        operators: Operators::new(pool.clone()),
        peers: Peers::new(credentials),
        tokens,
        instance: names.instance.into(),
        stopping: shutdown.token(),
    });
    let supervisor = Supervisor::new(shutdown.clone());
    if let (Some(broker), Some(relaying)) = (&broker, relaying) {
        exchange(broker, relaying.job, &app, &pool, &supervisor)?;
    }
    let health = Health::with_readiness(readiness).await;
    let routes = layer.guard(grpc::routes(&app));
    let serving = serve(routes, pool, listener, &health, &supervisor, &config);
    tokio::select! {
        served = serving => served?,
        ended = &mut engine => return engine_ended(ended),
    }
    // Requests have been answered; now the calls in flight may end.
    stop.cancel();
    engine_ended(engine.await)
}

async fn serve(
    routes: Routes,
    pool: PgPool,
    listener: Listener,
    health: &Health,
    supervisor: &Supervisor,
    config: &Config,
) -> Result<(), process::grpc::Error> {
    health.follow_database(pool.clone(), supervisor);
    process::pool::spawn_report(
        PoolGauge::new(SCHEMA, pool),
        process::pool::REPORT_INTERVAL,
        supervisor,
    );
    let shutdown = supervisor.shutdown();
    process::grpc::serve("saga", listener, routes, health, shutdown, &config.limits).await
}

/// Most answers handled at once. Each holds a connection of the API's pool while it takes another one to look at the saga,
/// so with more of them they could wait for each other; the relay has one, and requests need some.
fn handlers(connections: u32) -> u16 {
    let handlers = connections.saturating_sub(2) / 2;
    u16::try_from(handlers).unwrap_or(u16::MAX).max(1)
}

/// Publishes the outbox, and takes the answers to published requests.
fn exchange(
    broker: &Broker,
    relay: Job,
    app: &Arc<App>,
    pool: &PgPool,
    supervisor: &Supervisor,
) -> Result<(), Error> {
    let consumer = Consumer {
        queue: REPLIES,
        bindings: Vec::new(),
        schema: SCHEMA,
        pool: pool.clone(),
    };
    let applier = Arc::clone(app);
    let replies = broker.consumer(consumer, move |_, received| {
        let app = Arc::clone(&applier);
        async move { app.replied(received).await }.boxed()
    })?;
    let (follower, stop) = (Arc::clone(app), supervisor.shutdown().token());
    supervisor.spawn("saga answers", async move {
        follow_replies(follower, replies.bindings, stop).await;
        Ok::<_, Infallible>(())
    });
    for job in [relay, replies.job] {
        let stop = supervisor.shutdown().token();
        supervisor.spawn(job.name, async move {
            (job.run)(stop).await;
            Ok::<_, Infallible>(())
        });
    }
    Ok(())
}

fn engine_ended(ended: Result<Result<(), Stopped>, tokio::task::JoinError>) -> Result<(), Error> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Stopped::Fenced)) => Err(Error::Fenced),
        Err(_) => Err(Error::Panicked),
    }
}

/// Registers and activates a definition that ships with the program. One whose participants are not configured here is
/// left out: an orchestrator need not know everybody.
async fn register(definitions: &Definitions, name: &str, source: &str) -> Result<(), Error> {
    let checked = match definitions.check(source) {
        Ok(checked) => checked,
        Err(problems) if problems.iter().all(|p| p.kind == ProblemKind::UnknownParticipant) => {
            tracing::warn!(
                definition = name,
                "not registered: its participants are not configured"
            );
            return Ok(());
        }
        Err(problems) => {
            let lines: Vec<String> = problems.iter().map(|problem| problem.in_file(name)).collect();
            return Err(Error::BuiltIn {
                name: name.to_owned(),
                problems: lines.join("\n"),
            });
        }
    };
    let failed = |source| Error::Register {
        name: name.to_owned(),
        source,
    };
    definitions
        .register(&checked, source, BUILT_IN_ACTOR)
        .await
        .map_err(failed)?;
    definitions
        .activate(checked.name(), checked.version(), true)
        .await
        .map_err(failed)?;
    Ok(())
}

/// What the instance calls itself.
struct Names {
    instance: String,
    address: String,
}

impl Names {
    fn of(config: &Config, scheme: &str, bound: SocketAddr) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
            .map(|name| name.trim().to_owned())
            .ok()
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| "localhost".to_owned());
        let port = bound.port();
        let address = if bound.ip().is_unspecified() {
            format!("{scheme}://{host}:{port}")
        } else {
            format!("{scheme}://{bound}")
        };
        Self {
            instance: config
                .instance
                .clone()
                .unwrap_or_else(|| format!("{host}:{port}")),
            address: config.address.clone().unwrap_or(address),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
