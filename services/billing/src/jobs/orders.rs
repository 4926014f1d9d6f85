//! Orders that are over, and sagas that are due.

use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::repeat::repeat;
use crate::app::{App, orders, start_due};

/// How often is looked for orders whose time is over.
const EXPIRY: Duration = Duration::from_secs(1);
/// How often is looked for sagas to be started; money that goes back may wait so long.
const STARTS: Duration = Duration::from_millis(500);

/// Cancels orders that nobody has paid in time. Ends at once.
pub(super) async fn expiry(app: App, stop: CancellationToken) {
    let never = Notify::new();
    repeat("billing-expiry", EXPIRY, &never, &stop, || {
        orders::expire_orders(&app)
    })
    .await;
}

/// Starts the sagas that transactions have made due. Ends at once; a call that is broken off is made again.
pub(super) async fn starts(app: App, stop: CancellationToken) {
    let never = Notify::new();
    repeat("billing-starts", STARTS, &never, &stop, || start_due(&app)).await;
}
