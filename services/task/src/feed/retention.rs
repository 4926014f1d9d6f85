//! The job that deletes what need not be kept.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Feeds;
use crate::store::{feed, notifications};

/// How long an event is kept, and how many of a user.
const KEEP: Duration = Duration::from_secs(24 * 60 * 60);
const KEEP_EVENTS: i64 = 1_000;
/// How long a notification is kept after it was read.
const KEEP_READ: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// How many notifications of a user are kept, read or not. Kept exactly when one comes, not here.
pub(crate) const KEEP_NOTIFICATIONS: i64 = 1_000;

/// How often it is done.
const EVERY: Duration = Duration::from_secs(60);
/// Rows deleted by one statement, and by one round at most: 10,000 a minute and kind. What is left waits.
const ROWS: i64 = 1_000;
const STATEMENTS: u32 = 10;

impl Feeds {
    /// Deletes what is old until `stop` is cancelled. Any number of processes may do so.
    pub(crate) async fn tidy(self, stop: CancellationToken) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before: Option<Instant> = None;
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            let began = Instant::now();
            // Users who were told something since the round before, and for certain.
            let active = before.map_or(KEEP, |before| before.elapsed() + EVERY);
            match stop.run_until_cancelled(self.tidy_once(active)).await {
                Some(Ok(())) => before = Some(began),
                Some(Err(error)) => {
                    tracing::warn!(error = barrier::chain(&error), "old events are not deleted");
                }
                None => return,
            }
        }
    }

    async fn tidy_once(&self, active: Duration) -> Result<(), sqlx::Error> {
        let pool = self.pool.pool();
        repeat(|| feed::delete_old(pool, KEEP.as_secs_f64(), ROWS)).await?;
        repeat(|| feed::delete_beyond(pool, KEEP_EVENTS, active.as_secs_f64(), ROWS)).await?;
        repeat(|| notifications::delete_read(pool, KEEP_READ.as_secs_f64(), ROWS)).await
    }
}

/// Deletes until there is nothing left, or enough was done.
async fn repeat<F: Future<Output = Result<u64, sqlx::Error>>>(
    mut delete: impl FnMut() -> F,
) -> Result<(), sqlx::Error> {
    for _ in 0..STATEMENTS {
        if delete().await? < ROWS.unsigned_abs() {
            break;
        }
    }
    Ok(())
}
