//! Background work of the service. Every replica does all of it; rows are taken with leases, and whichever comes first, the
//! others find it done.

mod checks;
mod repeat;
mod statements;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::app::App;

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

/// All jobs.
pub(crate) fn all(app: &App) -> Vec<Job> {
    let checks = app.clone();
    let mut jobs = vec![Job {
        name: "billing-checks",
        run: Box::new(move |stop| checks::run(checks, stop).boxed()),
    }];
    if app.config.import_statements {
        let statements = app.clone();
        jobs.push(Job {
            name: "billing-statements",
            run: Box::new(move |stop| statements::run(statements, stop).boxed()),
        });
    }
    jobs
}
