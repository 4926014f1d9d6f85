//! Background work of the service.

use std::sync::Arc;

use futures::FutureExt;

use crate::app::App;
use crate::pipeline::kinds::http::Providers;
use crate::pipeline::worker::Worker;

/// Makes the worker that carries out pipelines.
pub(crate) fn pipelines(app: &App, providers: Providers) -> process::Job {
    let worker = Worker::new(
        app.steps_pool.clone(),
        Arc::new(providers),
        app.config.worker.clone(),
        Arc::clone(&app.due),
    );
    process::Job {
        name: "task-pipelines",
        run: Box::new(move |stop| worker.run(stop).boxed()),
    }
}
