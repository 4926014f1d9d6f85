//! The broker of a process, and the jobs that use it.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use sqlx::{PgConnection, PgPool};
use tokio_util::sync::CancellationToken;

use crate::consumer::{self, Bindings};
use crate::handler::{Handler, Outcome};
use crate::keeper::Keeper;
use crate::postgres::Postgres;
use crate::rabbit::Rabbit;
use crate::relay::{self, Wake};
use crate::{Config, Error, Pattern, Received};

/// RabbitMQ, or the Postgres queue. Clones share connections; nothing is connected before a job runs, and a job that finds
/// no broker goes on trying.
#[derive(Debug, Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) config: Config,
    /// Pool on the schema [`SCHEMA`](crate::SCHEMA): the Postgres queue, and the dead letters of either broker.
    pub(crate) pool: PgPool,
    pub(crate) backend: Backend,
}

#[derive(Debug)]
pub(crate) enum Backend {
    Rabbit(Arc<Rabbit>),
    Postgres(Postgres),
}

/// Whose outbox is published.
#[derive(Debug, Clone)]
pub struct Relay {
    /// Name of the service; messages have the source `/evenkeel/<service>`.
    pub service: &'static str,
    /// Schema of the outbox.
    pub schema: &'static str,
    /// Pool that can reach the schema; the relay holds one connection while it publishes.
    pub pool: PgPool,
    /// Topics that tell what happened, which nobody needs to take: published although no queue wants them. Every other
    /// topic waits in the outbox, loudly, until a queue takes it.
    pub facts: &'static [&'static str],
}

/// A relay that is ready to run.
#[derive(Debug)]
pub struct Relaying {
    /// Makes the relay look at once, after a commit.
    pub wake: Wake,
    /// The relay.
    pub job: Job,
}

/// A queue and who applies its messages.
#[derive(Debug, Clone)]
pub struct Consumer {
    /// Name, such as `saga.replies`; also the name of the consumer in the inbox. Lower-case words joined by dots, at most
    /// 100 bytes.
    pub queue: &'static str,
    /// What the queue takes at the start: topics, with `*` for a word and `#` for any words. See [`Bindings::set`].
    pub bindings: Vec<Pattern>,
    /// Schema of the inbox.
    pub schema: &'static str,
    /// Pool that can reach the schema and whatever the handler needs.
    pub pool: PgPool,
}

/// A consumer that is ready to run.
#[derive(Debug)]
pub struct Consuming {
    /// Changes what the queue takes.
    pub bindings: Bindings,
    /// The consumer.
    pub job: Job,
}

/// A background loop, to be supervised by the process. It ends only after the token is cancelled: a broker or a database
/// that is down is waited for.
pub struct Job {
    /// Name, for the log.
    pub name: &'static str,
    /// Runs until the token is cancelled, then ends after the work in hand: at most `handler_timeout`, or 15 s of a relay.
    pub run: Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Broker {
    /// Makes the broker that `config` names. `pool` is on the schema [`SCHEMA`](crate::SCHEMA), with 2 connections at
    /// least. Connects to nothing.
    ///
    /// # Errors
    /// A setting is out of range, or the URL cannot be read; the text does not show it.
    pub fn new(config: Config, pool: PgPool) -> Result<Self, Error> {
        config.check()?;
        let backend = if config.amqp_url.is_empty() {
            Backend::Postgres(Postgres::new(pool.clone(), &config))
        } else {
            Backend::Rabbit(Arc::new(Rabbit::new(&config.amqp_url)?))
        };
        let inner = Inner {
            config,
            pool,
            backend,
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Says which broker it is: `rabbitmq` or `postgres`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.inner.backend {
            Backend::Rabbit(_) => "rabbitmq",
            Backend::Postgres(_) => "postgres",
        }
    }

    /// Makes the job that publishes an outbox. Several replicas may run it on one table.
    #[must_use]
    pub fn relay(&self, relay: Relay) -> Relaying {
        let wake = Wake::default();
        let worker = relay::Worker::new(Arc::clone(&self.inner), relay, wake.clone());
        Relaying {
            wake,
            job: Job {
                name: "events relay",
                run: Box::new(move |stop| worker.run(stop).boxed()),
            },
        }
    }

    /// Makes the job that applies the messages of a queue. The queue exists, and takes messages, from the first run on.
    ///
    /// The handler runs in the transaction that holds the message's row of the inbox, READ COMMITTED; its effect and the
    /// fact that it happened are committed together. Messages of one key are handled one after the other in a process.
    ///
    /// # Errors
    /// The queue's name breaks the rule.
    pub fn consumer<F>(&self, consumer: Consumer, handler: F) -> Result<Consuming, Error>
    where
        F: for<'a> Fn(&'a mut PgConnection, &'a Received) -> BoxFuture<'a, Outcome> + Send + Sync + 'static,
    {
        if !is_queue_name(consumer.queue) {
            return Err(Error::Config(format!(
                "{:?} is no name of a queue",
                consumer.queue
            )));
        }
        let bindings = Bindings::new(consumer.bindings.iter().cloned().collect::<BTreeSet<_>>());
        let handler: Arc<Handler> = Arc::new(handler);
        let worker = consumer::Worker::new(Arc::clone(&self.inner), consumer, bindings.clone(), handler);
        Ok(Consuming {
            bindings,
            job: Job {
                name: "events consumer",
                run: Box::new(move |stop| worker.run(stop).boxed()),
            },
        })
    }

    /// Makes the job that looks after dead letters: takes them over from the broker, sends back those that a person wants
    /// back, counts them. Every process runs one.
    #[must_use]
    pub fn keeper(&self) -> Job {
        let keeper = Keeper::new(Arc::clone(&self.inner));
        Job {
            name: "events keeper",
            run: Box::new(move |stop| keeper.run(stop).boxed()),
        }
    }
}

fn is_queue_name(name: &str) -> bool {
    name.len() <= 100
        && name.split('.').all(|word| {
            word.bytes()
                .next()
                .is_some_and(|first| first.is_ascii_lowercase())
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        })
}
