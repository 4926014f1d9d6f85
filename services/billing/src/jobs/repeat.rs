//! A round of work, again and again.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::error::Error;

/// Works at once, and then at every tick or hint. A round is dropped at the order to end: each transaction stands alone.
pub(crate) async fn repeat<F: Future<Output = Result<(), Error>> + Send>(
    name: &'static str,
    pause: Duration,
    hint: &Notify,
    stop: &CancellationToken,
    mut round: impl FnMut() -> F,
) {
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        let turn = async {
            tokio::select! {
                _ = ticks.tick() => {}
                () = hint.notified() => {}
            }
            round().await
        };
        match stop.run_until_cancelled(turn).await {
            None => return,
            Some(Ok(())) => failing = false,
            // Once is enough while the database is away.
            Some(Err(_)) if failing => {}
            Some(Err(error)) => {
                failing = true;
                tracing::warn!(
                    job = name,
                    error = barrier::chain(&error),
                    "a job fails; it goes on trying"
                );
            }
        }
    }
}
