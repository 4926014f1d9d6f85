//! Background work of the service.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::app::App;
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

/// Makes the worker that carries out pipelines. It ends within `worker.drain`.
pub(crate) fn pipelines(app: &App, providers: Providers) -> Job {
    let worker = Worker::new(
        app.steps_pool.clone(),
        Arc::new(providers),
        app.config.worker.clone(),
        Arc::clone(&app.due),
    );
    Job {
        name: "task-pipelines",
        run: Box::new(move |stop| worker.run(stop).boxed()),
    }
}
