//! Carries hints to the orchestrator.

use futures::StreamExt as _;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::app::{App, Changed, carry};

/// How many are carried at once.
const AT_ONCE: usize = 8;

/// Works until `stop` is cancelled; hints that are left then are lost, and the steps are asked later.
pub(super) async fn run(app: App, mut changed: mpsc::Receiver<Changed>, stop: CancellationToken) {
    let hints = futures::stream::poll_fn(|context| changed.poll_recv(context));
    let carried = hints.for_each_concurrent(AT_ONCE, |changed| {
        let app = app.clone();
        async move { carry(&app, changed).await }
    });
    stop.run_until_cancelled(carried).await;
}
