//! Fetches providers' statements, once a day for each channel.

use std::time::Duration;

use chrono::Utc;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::repeat::repeat;
use crate::app::App;
use crate::app::desk::{Day, import};
use crate::domain::due_days;
use crate::error::Error;
use crate::store::statements;

/// How often is looked whether a statement is due; one that is not there yet is asked for again then.
const PAUSE: Duration = Duration::from_secs(600);

/// Works until `stop` is cancelled, and then ends at once. An import that is broken off is begun again by the next process.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    // Nobody hints: days pass by themselves.
    let hint = Notify::new();
    repeat("billing-statements", PAUSE, &hint, &stop, || round(&app)).await;
}

/// Imports what is due of every channel. One that fails does not keep the others from it; the last failure is returned.
async fn round(app: &App) -> Result<(), Error> {
    let mut last = Ok(());
    for channel in app.channels.keys().copied() {
        let now = Utc::now();
        let imported = statements::newest(&app.steps_pool, channel).await?;
        for day in due_days(now, imported) {
            match import(app, &Day::new(channel, day, now)?).await {
                Ok(statement) => tracing::info!(
                    channel = channel.name(),
                    %day,
                    lines = statement.lines,
                    open_differences = statement.open_differences,
                    "a statement is imported"
                ),
                // Later days would hide that this one is missing.
                Err(error) => {
                    last = Err(error);
                    break;
                }
            }
        }
    }
    last
}
