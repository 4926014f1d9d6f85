//! Background work of the service. Every replica does all of it; rows are taken with leases, and whichever comes first, the
//! others find it done.

mod checks;
mod hints;
mod notifies;
mod orders;
mod refunds;
mod repeat;
mod statements;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Changed};

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
pub(crate) fn all(app: &App, changed: mpsc::Receiver<Changed>) -> Vec<Job> {
    let job = |name, run: fn(App, CancellationToken) -> BoxFuture<'static, ()>| {
        let app = app.clone();
        Job {
            name,
            run: Box::new(move |stop| run(app, stop)),
        }
    };
    let mut jobs = vec![
        job("billing-checks", |app, stop| checks::run(app, stop).boxed()),
        job("billing-notifies", |app, stop| notifies::apply(app, stop).boxed()),
        job("billing-tidy", |app, stop| notifies::tidy(app, stop).boxed()),
        job("billing-stuck-refunds", |app, stop| {
            refunds::run(app, stop).boxed()
        }),
        job("billing-expiry", |app, stop| orders::expiry(app, stop).boxed()),
        job("billing-starts", |app, stop| orders::starts(app, stop).boxed()),
    ];
    let hinted = app.clone();
    jobs.push(Job {
        name: "billing-hints",
        run: Box::new(move |stop| hints::run(hinted, changed, stop).boxed()),
    });
    if app.config.import_statements {
        jobs.push(job("billing-statements", |app, stop| {
            statements::run(app, stop).boxed()
        }));
    }
    jobs
}
