//! Background work of the service. Every replica does all of it; whichever comes first, the others find it done.

use std::time::Duration;

use chrono::DateTime;
use futures::FutureExt;
use futures::future::BoxFuture;
use process::PoolGauge;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::config::Config;
use crate::error::Error;
use crate::{app, store};

/// How often is looked for what is over. No caller waits for it: who asks is told by the clock.
const PAUSE: Duration = Duration::from_secs(1);
/// How much is read at once.
const AT_ONCE: i64 = 100;

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

/// Makes the job that gives back what reservations hold which have run out, and takes off what grants have left which
/// are over.
pub(crate) fn expiry(pool: PoolGauge, config: Config) -> Job {
    Job {
        name: "quota-expiry",
        run: Box::new(move |stop| async move { repeat(&pool, &config, &stop).await }.boxed()),
    }
}

/// Works at once, and then again and again. Work is dropped at the order to end: each transaction stands alone.
async fn repeat(pool: &PoolGauge, config: &Config, stop: &CancellationToken) {
    let mut ticks = tokio::time::interval(PAUSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        let round = async {
            ticks.tick().await;
            let reservations = reservations(pool).await;
            let grants = grants(pool, config.low_below).await;
            reservations.and(grants)
        };
        match stop.run_until_cancelled(round).await {
            None => return,
            Some(Ok(())) => failing = false,
            // Once is enough while the database is away.
            Some(Err(_)) if failing => {}
            Some(Err(error)) => {
                failing = true;
                tracing::warn!(
                    job = "quota-expiry",
                    error = barrier::chain(&error),
                    "a job fails; it goes on trying"
                );
            }
        }
    }
}

/// Expires all reservations that have run out. One that fails does not keep the others from it; the last failure is
/// returned.
async fn reservations(pool: &PoolGauge) -> Result<(), Error> {
    let (mut place, mut last) = ((DateTime::UNIX_EPOCH, Uuid::nil()), Ok(()));
    loop {
        let due = store::due::reservations(pool, place, AT_ONCE).await?;
        let Some((_, end)) = due.last() else {
            return last;
        };
        place = *end;
        for (task_id, _) in due {
            let done =
                app::transaction(pool, async |conn| app::expire_reservation(conn, task_id).await).await;
            match done {
                Ok(Some(reservation)) => tracing::info!(
                    task_id = %task_id,
                    user_id = %reservation.user_id,
                    amount = reservation.amount,
                    "a reservation has expired"
                ),
                Ok(None) => {}
                Err(error) => last = Err(error),
            }
        }
    }
}

/// Does the same for grants.
async fn grants(pool: &PoolGauge, low_below: i64) -> Result<(), Error> {
    let (mut place, mut last) = ((DateTime::UNIX_EPOCH, String::new()), Ok(()));
    loop {
        let due = store::due::grants(pool, place, AT_ONCE).await?;
        let Some((_, end)) = due.last() else {
            return last;
        };
        place = end.clone();
        for (user_id, _) in due {
            let done = app::transaction(pool, async |conn| {
                app::expire_grants(conn, user_id, low_below).await
            })
            .await;
            if let Err(error) = done {
                last = Err(error);
            }
        }
    }
}
