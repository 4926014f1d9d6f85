//! The feeds of users, and the streams that watch them.
//!
//! Every user has a feed: events numbered without gaps, written in the transaction that changes what they are about
//! ([`store::feed`](crate::store::feed)). A stream begins by reading the table from where its reader was; when it has caught
//! up it is told from memory. One [poller] per process asks the database what has become visible, whoever committed it.
//!
//! Invariants:
//! * A stream's numbers rise by one; a snapshot, which only begins a stream, may skip. What is missing is read from the
//!   table, and if it is not there any more the stream ends.
//! * A stream is in the [hub] before it reads, and is told only if nothing was added since it began its last reading: so
//!   nothing is lost in between. What it was sent already is dropped: so nothing is doubled.
//! * Nothing waits for a reader. What one has not taken is bounded; beyond that the stream ends.
//! * A database that is down ends no stream.

mod hub;
mod load;
mod mailbox;
mod metric;
mod poller;
mod retention;
mod stream;

use std::sync::Arc;

use futures::stream::BoxStream;
use ids::UserId;
use process::PoolGauge;
use proto::task::v1::WatchResponse;
use tokio::sync::Semaphore;
use tonic::Status;

use self::hub::Hub;
pub(crate) use self::hub::Refusal;
pub(crate) use self::mailbox::Closing;
pub(crate) use self::retention::KEEP_NOTIFICATIONS;
use crate::config::Config;

/// Streams that read the table at the same moment. The others wait: a thousand readers that come back together after an
/// outage take no more connections than this.
const READERS: usize = 8;

/// Handles of the feeds. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Feeds {
    pool: PoolGauge,
    config: Arc<Config>,
    hub: Arc<Hub>,
    readers: Arc<Semaphore>,
}

impl Feeds {
    pub(crate) fn new(pool: PoolGauge, config: Arc<Config>) -> Self {
        metric::init();
        Self {
            pool,
            config,
            hub: Arc::default(),
            readers: Arc::new(Semaphore::new(READERS)),
        }
    }

    /// Watches a user's feed from the event after `last_seq`, or from a snapshot.
    pub(crate) fn watch(
        &self,
        user_id: UserId,
        last_seq: Option<u64>,
    ) -> Result<BoxStream<'static, Result<WatchResponse, Status>>, Refusal> {
        let seat = self
            .hub
            .join(user_id.uuid(), self.config.watch.streams_per_user)?;
        Ok(stream::open(self.clone(), seat, user_id, last_seq))
    }

    /// Tells the poller that this process has committed an event. Others are noticed at the next look.
    pub(crate) fn written(&self) {
        self.hub.written.notify_one();
    }
}
