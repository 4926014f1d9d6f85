//! Applies notifications that were stored, and forgets what is old.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::repeat::repeat;
use crate::app::{App, notify, withdrawals};
use crate::error::Error;
use crate::store::notifies;

/// How often is looked for what another process has stored.
const SCAN: Duration = Duration::from_secs(1);
/// How many are looked at together.
const BATCH: i64 = 128;
/// How many are applied at once, each in a transaction of its own.
const AT_ONCE: usize = 16;
/// How often old deliveries are forgotten.
const TIDY: Duration = Duration::from_secs(600);
/// How many are forgotten by one statement.
const FORGET: i64 = 5_000;

/// Applies notifications until `stop` is cancelled. One that is under way then is rolled back, and applied by the next
/// process.
pub(crate) async fn apply(app: App, stop: CancellationToken) {
    let nearest = app.config.ask_after.first().copied().unwrap_or(SCAN);
    repeat("billing-notifies", SCAN.min(nearest), &app.inbox, &stop, || {
        round(&app)
    })
    .await;
}

async fn round(app: &App) -> Result<(), Error> {
    loop {
        let due = notifies::due(&app.steps_pool, BATCH).await?;
        let full = i64::try_from(due.len()).unwrap_or(i64::MAX) >= BATCH;
        let applied = AtomicUsize::new(0);
        futures::stream::iter(due)
            .for_each_concurrent(AT_ONCE, async |id| {
                if one(app, id).await {
                    applied.fetch_add(1, Ordering::Relaxed);
                }
            })
            .await;
        // What is left is in other hands, or fails.
        if !full || applied.into_inner() == 0 {
            return Ok(());
        }
    }
}

/// Applies one. One that fails does not stop the others, and is tried again later.
async fn one(app: &App, id: Uuid) -> bool {
    let error = match notify::apply(app, id).await {
        Ok(applied) => return applied,
        Err(error) => error,
    };
    tracing::warn!(notify_id = %id, error = barrier::chain(&error), "a notification cannot be applied now");
    if let Err(error) = notifies::put_off(&app.steps_pool, id, &error.to_string()).await {
        tracing::warn!(notify_id = %id, error = barrier::chain(&error), "a notification cannot be put off");
    }
    false
}

/// Forgets deliveries that are older than `keep_receipts`, and recipients of withdrawals that never began.
pub(crate) async fn tidy(app: App, stop: CancellationToken) {
    let never = Notify::new();
    repeat("billing-tidy", TIDY, &never, &stop, || forget(&app)).await;
}

async fn forget(app: &App) -> Result<(), Error> {
    withdrawals::forget_payees(app).await?;
    let keep = app.config.keep_receipts;
    while notifies::forget_receipts(&app.steps_pool, keep, FORGET).await? >= FORGET.unsigned_abs() {}
    Ok(())
}
