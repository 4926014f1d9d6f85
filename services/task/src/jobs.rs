//! Background work of the service.

use std::sync::Arc;

use events::{Broker, Consumer};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::app::notify::{QUEUE, TOPIC, notify};
use crate::pipeline::kinds::http::Providers;
use crate::pipeline::worker::Worker;

/// A background loop, to be supervised by the process.
pub struct Job {
    /// Name, for the log.
    pub name: &'static str,
    /// Runs until the token is cancelled, and then ends within the bound that the job states.
    pub run: Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Makes the job that tells streams what happens. When it ends, every stream does.
pub(crate) fn feeds(app: &App) -> Job {
    let feeds = app.feeds.clone();
    Job {
        name: "task-feeds",
        run: Box::new(move |stop| feeds.poll(stop).boxed()),
    }
}

/// Makes the job that deletes old events and notifications.
pub(crate) fn tidy(app: &App) -> Job {
    let feeds = app.feeds.clone();
    Job {
        name: "task-tidy",
        run: Box::new(move |stop| feeds.tidy(stop).boxed()),
    }
}

/// Makes the job that takes notifications from the broker. It ends after the messages in hand.
pub(crate) fn notifications(app: &App, broker: &Broker) -> Job {
    let consumer = Consumer {
        queue: QUEUE,
        bindings: vec![TOPIC.parse().expect("the topic is a pattern that takes itself")],
        schema: crate::SCHEMA,
        pool: app.pool.pool().clone(),
    };
    let consuming = broker
        .consumer(consumer, |conn, received| notify(conn, received).boxed())
        .expect("the queue's name keeps the rule");
    Job {
        name: "task-notifications",
        run: consuming.job.run,
    }
}

/// Makes the worker that carries out pipelines. It ends within `worker.drain`.
pub(crate) fn pipelines(app: &App, providers: Providers) -> Job {
    let worker = Worker::new(
        app.steps_pool.clone(),
        Arc::new(providers),
        app.config.worker.clone(),
        Arc::clone(&app.due),
        app.feeds.clone(),
    );
    Job {
        name: "task-pipelines",
        run: Box::new(move |stop| worker.run(stop).boxed()),
    }
}
