//! Background work of the service. Every replica does all of it; whichever comes first, the others find it done.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::error::{Error, chain};
use crate::{invites, store};

/// How often the signing keys are read: often enough that no login waits for it.
const KEYS: Duration = Duration::from_secs(20);
/// How often epochs are published that should be known already: how long a demoted administrator may go on after a crash
/// or a loss of the store.
const EPOCHS: Duration = Duration::from_secs(5);
/// How often old sessions are deleted, and how many at once.
const SWEEP: Duration = Duration::from_secs(60);
const SWEPT_AT_ONCE: i64 = 1_000;
/// How often the pool of invite codes is looked at: it lasts much longer.
const INVITES: Duration = Duration::from_secs(10);

/// A background loop, to be supervised by the process.
pub struct Job {
    /// Name, for the log.
    pub name: &'static str,
    /// Runs until the token is cancelled, and then ends at once.
    pub run: Box<dyn FnOnce(CancellationToken) -> BoxFuture<'static, ()> + Send>,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What is done over and over.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// Reads the signing keys, and rotates them when that is due.
    Keys,
    /// Publishes epochs that should be known already.
    Epochs,
    /// Deletes sessions that have been over for long.
    Sessions,
    /// Makes invite codes ahead.
    Invites,
}

impl Work {
    const fn name(self) -> &'static str {
        match self {
            Self::Keys => "auth-keys",
            Self::Epochs => "auth-epochs",
            Self::Sessions => "auth-sessions",
            Self::Invites => "auth-invites",
        }
    }

    const fn pause(self) -> Duration {
        match self {
            Self::Keys => KEYS,
            Self::Epochs => EPOCHS,
            Self::Sessions => SWEEP,
            Self::Invites => INVITES,
        }
    }

    async fn once(self, app: &App) -> Result<(), Error> {
        match self {
            Self::Keys => Ok(app.keys.turn().await?),
            Self::Epochs => app.epochs.publish_all(&app.pool, &app.cache).await,
            Self::Sessions => sweep(app).await,
            Self::Invites => {
                let made = invites::refill(app.pool.pool(), &app.config.invites).await?;
                if made > 0 {
                    tracing::info!(made, "invite codes");
                }
                Ok(())
            }
        }
    }
}

/// Makes all jobs.
pub(crate) fn all(app: &App) -> Vec<Job> {
    [Work::Keys, Work::Epochs, Work::Sessions, Work::Invites]
        .into_iter()
        .map(|work| {
            let app = app.clone();
            Job {
                name: work.name(),
                run: Box::new(move |stop| async move { repeat(work, &app, &stop).await }.boxed()),
            }
        })
        .collect()
}

/// Works at once, and then again and again. Work is dropped at the order to end: each of its statements stands alone.
async fn repeat(work: Work, app: &App, stop: &CancellationToken) {
    let mut ticks = tokio::time::interval(work.pause());
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        let round = async {
            ticks.tick().await;
            work.once(app).await
        };
        match stop.run_until_cancelled(round).await {
            None => return,
            Some(Ok(())) => failing = false,
            // Once is enough while the database is away.
            Some(Err(_)) if failing => {}
            Some(Err(error)) => {
                failing = true;
                tracing::warn!(
                    job = work.name(),
                    error = chain(&error),
                    "a job fails; it goes on trying"
                );
            }
        }
    }
}

async fn sweep(app: &App) -> Result<(), Error> {
    loop {
        let swept = store::session::sweep(&app.pool, app.config.keep_sessions, SWEPT_AT_ONCE).await?;
        if swept < SWEPT_AT_ONCE.cast_unsigned() {
            return Ok(());
        }
    }
}
