//! Deletes what has ended. Reads never see it, so this is for space only.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::postgres::Postgres;

/// Pause between two sweeps, and after trouble.
const PAUSE: Duration = Duration::from_secs(10);
/// Rows a statement deletes; it takes some milliseconds.
const BATCH: u32 = 1000;

/// A background loop, to be supervised by the process. It ends only after the token is cancelled: a database that is down
/// is waited for.
pub struct Job {
    /// Name, for the log.
    pub name: &'static str,
    /// Runs until the token is cancelled, then ends after the statement in hand.
    pub run: Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Makes the job. Redis forgets by itself, so there it only waits for the end.
pub(crate) fn job(postgres: Option<Postgres>) -> Job {
    Job {
        name: "kv.sweep",
        run: Box::new(move |stop| {
            async move {
                match postgres {
                    Some(postgres) => run(&postgres, &stop).await,
                    None => stop.cancelled().await,
                }
            }
            .boxed()
        }),
    }
}

async fn run(postgres: &Postgres, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        match postgres.sweep(BATCH).await {
            Ok(deleted) if deleted >= u64::from(BATCH) => {}
            Ok(_) => rest(stop).await,
            Err(error) => {
                tracing::debug!(%error, "values that have ended were not deleted; trying again");
                rest(stop).await;
            }
        }
    }
}

async fn rest(stop: &CancellationToken) {
    // None: the order to end came first, which the loop sees.
    let _ = stop.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
}
