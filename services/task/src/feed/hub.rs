//! Who watches in this process.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::task::v1::WatchResponse;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

use super::mailbox::{Closing, Mailbox};
use super::metric;
use crate::store::feed::Row;

/// Streams of one process. A stream needs about 16 KiB.
const MAX_STREAMS: usize = 20_000;

/// Why a stream is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The user has as many as are allowed.
    TooMany,
    /// The process has as many as it can bear.
    Overloaded,
    /// The process ends.
    ShuttingDown,
}

/// Everybody who watches. Nothing here waits.
#[derive(Debug, Default)]
pub(super) struct Hub {
    inner: Mutex<Inner>,
    /// The first stream has come.
    pub(super) joined: Notify,
    /// Something was committed in this process.
    pub(super) written: Notify,
    /// A stream waits for the database.
    stalled: AtomicBool,
}

#[derive(Debug, Default)]
struct Inner {
    users: HashMap<Uuid, User>,
    streams: usize,
    closed: bool,
}

#[derive(Debug, Default)]
struct User {
    mailboxes: Vec<Arc<Mailbox>>,
    /// Number of the last event that was delivered.
    told: u64,
}

impl Hub {
    /// Admits a stream of a user who may have `limit` of them.
    pub(super) fn join(self: &Arc<Self>, user_id: Uuid, limit: usize) -> Result<Seat, Refusal> {
        let mut inner = self.lock();
        if inner.closed {
            return Err(Refusal::ShuttingDown);
        }
        if inner.streams >= MAX_STREAMS {
            return Err(Refusal::Overloaded);
        }
        let user = inner.users.entry(user_id).or_default();
        if user.mailboxes.len() >= limit {
            return Err(Refusal::TooMany);
        }
        let mailbox = Arc::new(Mailbox::new());
        user.mailboxes.push(Arc::clone(&mailbox));
        inner.streams += 1;
        metric::streams(inner.streams);
        drop(inner);
        self.joined.notify_one();
        Ok(Seat {
            hub: Arc::clone(self),
            user_id,
            mailbox,
            failed: false,
        })
    }

    /// Says whether anybody watches.
    pub(super) fn is_watched(&self) -> bool {
        self.lock().streams > 0
    }

    /// Keeps of `rows` what somebody here watches and was not told.
    pub(super) fn wanted(&self, rows: Vec<Row>) -> Vec<Row> {
        let inner = self.lock();
        let wanted = |row: &Row| {
            let user = inner.users.get(&row.user_id);
            user.is_some_and(|user| row.seq > user.told)
        };
        rows.into_iter().filter(wanted).collect()
    }

    /// Tells the streams of a user events, in order. Streams that are too slow leave.
    pub(super) fn deliver(&self, user_id: Uuid, events: &[Arc<WatchResponse>]) {
        let mut inner = self.lock();
        let Some(user) = inner.users.get_mut(&user_id) else {
            return;
        };
        let before = user.mailboxes.len();
        user.mailboxes.retain(|mailbox| mailbox.deliver(events));
        let (after, last) = (user.mailboxes.len(), events.last());
        user.told = last.map_or(user.told, |event| user.told.max(event.seq));
        if after == 0 {
            inner.users.remove(&user_id);
        }
        inner.left(before - after);
    }

    /// Makes every stream read the table: what was delivered before cannot be relied on.
    pub(super) fn read_again(&self) {
        let mut inner = self.lock();
        for user in inner.users.values_mut() {
            user.told = 0;
            for mailbox in &user.mailboxes {
                mailbox.read_again();
            }
        }
    }

    /// Lets streams go on that could not read the table.
    pub(super) fn resume(&self) {
        if self.stalled.swap(false, Ordering::AcqRel) {
            self.each(Mailbox::resume);
        }
    }

    /// Lets streams say that they live whose readers have taken nothing for so long.
    pub(super) fn beat(&self, after: Duration) {
        let now = Instant::now();
        self.each(|mailbox| mailbox.beat(now, after));
    }

    /// Ends every stream and admits no more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.each(|mailbox| mailbox.close(Closing::ShuttingDown));
    }

    fn each(&self, tell: impl Fn(&Mailbox)) {
        let inner = self.lock();
        let users = inner.users.values();
        users
            .flat_map(|user| &user.mailboxes)
            .for_each(|mailbox| tell(mailbox));
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn left(&mut self, streams: usize) {
        if streams > 0 {
            self.streams -= streams;
            metric::streams(self.streams);
        }
    }
}

/// A stream's place among those that watch; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    hub: Arc<Hub>,
    user_id: Uuid,
    pub(super) mailbox: Arc<Mailbox>,
    failed: bool,
}

impl Seat {
    /// Lets the stream wait until the database answers again.
    pub(super) fn stall(&self) {
        self.mailbox.stall();
        self.hub.stalled.store(true, Ordering::Release);
    }

    /// Notes that the stream ends because of a defect.
    pub(super) fn fail(&mut self) {
        self.failed = true;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut inner = self.hub.lock();
        if let Some(user) = inner.users.get_mut(&self.user_id) {
            let before = user.mailboxes.len();
            user.mailboxes
                .retain(|mailbox| !Arc::ptr_eq(mailbox, &self.mailbox));
            let after = user.mailboxes.len();
            if after == 0 {
                inner.users.remove(&self.user_id);
            }
            inner.left(before - after);
        }
        drop(inner);
        metric::closed(match (self.mailbox.closing(), self.failed) {
            (Some(Closing::TooSlow), _) => metric::Cause::Slow,
            (Some(Closing::ShuttingDown), _) => metric::Cause::Shutdown,
            (None, true) => metric::Cause::Failed,
            (None, false) => metric::Cause::Left,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::mailbox::{Next, ROOM};
    use crate::store::feed::Subject;

    fn row(user: u128, seq: u64) -> Row {
        Row {
            user_id: Uuid::from_u128(user),
            seq,
            subject: Subject::Task(Uuid::nil()),
        }
    }

    fn event(seq: u64) -> Vec<Arc<WatchResponse>> {
        vec![Arc::new(WatchResponse { seq, event: None })]
    }

    #[test]
    fn a_user_has_as_many_streams_as_are_allowed() {
        let hub = Arc::new(Hub::default());
        let user = Uuid::from_u128(1);
        let first = hub.join(user, 2).unwrap();
        let _second = hub.join(user, 2).unwrap();
        assert_eq!(hub.join(user, 2).unwrap_err(), Refusal::TooMany);
        assert!(hub.join(Uuid::from_u128(2), 2).is_ok());
        drop(first);
        assert!(hub.join(user, 2).is_ok());
    }

    #[test]
    fn only_what_is_new_to_somebody_is_wanted() {
        let hub = Arc::new(Hub::default());
        let _seat = hub.join(Uuid::from_u128(1), 10).unwrap();
        hub.deliver(Uuid::from_u128(1), &event(4));
        let rows = vec![row(1, 4), row(1, 5), row(2, 9)];
        assert_eq!(hub.wanted(rows.clone()), [row(1, 5)]);
        hub.read_again();
        assert_eq!(hub.wanted(rows), [row(1, 4), row(1, 5)]);
    }

    #[test]
    fn a_slow_stream_leaves_at_once() {
        let hub = Arc::new(Hub::default());
        let user = Uuid::from_u128(1);
        let seat = hub.join(user, 1).unwrap();
        seat.mailbox.begin_read();
        seat.mailbox.go_live();
        for seq in 1..=ROOM as u64 + 1 {
            hub.deliver(user, &event(seq));
        }
        assert!(matches!(seat.mailbox.next(), Next::End(Closing::TooSlow)));
        assert!(!hub.is_watched());
        assert!(
            hub.join(user, 1).is_ok(),
            "its place is free before its reader notices"
        );
    }

    #[test]
    fn nobody_is_admitted_after_the_end() {
        let hub = Arc::new(Hub::default());
        let seat = hub.join(Uuid::from_u128(1), 1).unwrap();
        hub.close();
        assert!(matches!(seat.mailbox.next(), Next::End(Closing::ShuttingDown)));
        assert_eq!(
            hub.join(Uuid::from_u128(2), 1).unwrap_err(),
            Refusal::ShuttingDown
        );
    }
}
