//! The job that asks the database what has become visible, and tells whoever watches it.

use std::sync::Arc;
use std::time::Duration;

use proto::task::v1::WatchResponse;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Feeds, metric};
use crate::store::feed::{self, Row};

/// Shortest time between two looks, so that many commits are found by one of them.
const SHORTEST: Duration = Duration::from_millis(20);
/// A look that takes longer is given up: its connection may lead nowhere.
const LONGEST_LOOK: Duration = Duration::from_secs(5);
/// Pause after the database did not answer.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(500);
/// Events that one look tells. If there are more, streams read them from the table, each at its own pace.
const MAX_ROWS: usize = 10_000;
/// Events whose tasks are loaded at a time.
const CHUNK: usize = 500;

/// Why a look has failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("the database does not answer")]
    Database(#[from] sqlx::Error),
    #[error("the database did not answer within {} s", LONGEST_LOOK.as_secs())]
    Slow,
}

impl Feeds {
    /// Tells streams what becomes visible until `stop` is cancelled; then every stream ends.
    pub(crate) async fn poll(self, stop: CancellationToken) {
        let work = async { tokio::join!(self.look_on(), self.beat_on()) };
        stop.run_until_cancelled(work).await;
        self.hub.close();
    }

    /// Looks as long as anybody watches.
    async fn look_on(&self) {
        let mut seen: Option<String> = None;
        let mut down = false;
        loop {
            if !self.hub.is_watched() {
                // Whoever comes next begins with the table, so there is nothing to remember.
                seen = None;
                self.hub.joined.notified().await;
                continue;
            }
            let began = Instant::now();
            match self.look(seen.as_deref()).await {
                Ok(snapshot) => {
                    if down {
                        tracing::info!("the feeds are told again");
                    }
                    down = false;
                    seen = Some(snapshot);
                    metric::polled(began.elapsed());
                    self.hub.resume();
                }
                Err(error) => {
                    if !down {
                        tracing::warn!(
                            error = barrier::chain(&error),
                            "the feeds are not told; trying again"
                        );
                    }
                    down = true;
                    sleep(PAUSE_AFTER_ERROR).await;
                    continue;
                }
            }
            sleep_until(began + SHORTEST).await;
            // Somebody has committed, or it is time.
            let _ = timeout_at(began + self.config.watch.poll, self.hub.written.notified()).await;
        }
    }

    /// Tells what has become visible since the snapshot of the look before. Returns that of this one.
    async fn look(&self, seen: Option<&str>) -> Result<String, Error> {
        let limit = i64::try_from(MAX_ROWS).unwrap_or(i64::MAX);
        let look = timeout(LONGEST_LOOK, feed::since(self.pool.pool(), seen, limit))
            .await
            .map_err(|_| Error::Slow)??;
        if seen.is_none() || look.backwards || look.rows.len() > MAX_ROWS {
            // Streams may have read the table before this look, and events have come between the two.
            self.hub.read_again();
            return Ok(look.snapshot);
        }
        let rows = self.hub.wanted(look.rows);
        for chunk in rows.chunks(CHUNK) {
            let events = timeout(LONGEST_LOOK, self.load(chunk))
                .await
                .map_err(|_| Error::Slow)??;
            for (user_id, events) in by_user(chunk, &events) {
                self.hub.deliver(user_id, events);
            }
        }
        Ok(look.snapshot)
    }

    /// Looks after silent streams, all with one clock.
    async fn beat_on(&self) {
        let after = self.config.watch.heartbeat;
        let mut tick = interval((after / 15).max(Duration::from_millis(10)));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.hub.beat(after);
        }
    }
}

/// Splits the events of rows that are ordered by user.
fn by_user<'a>(
    rows: &'a [Row],
    events: &'a [Arc<WatchResponse>],
) -> impl Iterator<Item = (Uuid, &'a [Arc<WatchResponse>])> {
    let mut rest = events;
    rows.chunk_by(|a, b| a.user_id == b.user_id)
        .filter_map(move |of_user| {
            let (mine, others) = rest.split_at_checked(of_user.len())?;
            rest = others;
            Some((of_user.first()?.user_id, mine))
        })
}
