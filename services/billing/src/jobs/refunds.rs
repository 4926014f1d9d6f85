//! Looks for money that is stuck on its way back.

use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::repeat::repeat;
use crate::app::{App, refunds};

/// Longest pause between two looks. It is a tenth of `case_after` if that is less, so that nobody is told much later.
const PAUSE: Duration = Duration::from_secs(60);

/// Works until `stop` is cancelled.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let pause = (app.config.case_after / 10).min(PAUSE);
    let hint = Notify::new();
    let round = || refunds::watch(app.clone());
    repeat("billing-stuck-refunds", pause, &hint, &stop, round).await;
}
