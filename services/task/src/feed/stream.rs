//! One stream: from the table until it has caught up, then from its mailbox.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt};
use ids::UserId;
use proto::task::v1::WatchResponse;
use tonic::Status;

use super::hub::Seat;
use super::load::heartbeat;
use super::mailbox::{Closing, Next};
use super::{Feeds, metric};
use crate::app::Error;
use crate::store::feed;

/// Events that a stream reads at a time.
const PAGE: usize = 50;

/// A stream that is open.
struct Watch {
    feeds: Feeds,
    seat: Seat,
    user_id: UserId,
    position: Position,
    /// What was read and not sent.
    page: VecDeque<Arc<WatchResponse>>,
}

/// Where a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    /// It has sent nothing. Its reader has seen this event last, if any.
    Before(Option<u64>),
    /// It has sent this event last.
    At(u64),
}

/// How a stream begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    Snapshot,
    After(u64),
}

/// Decides how a stream begins: with a snapshot unless the next event of its reader is kept, or not yet there.
const fn beginning(last_seq: Option<u64>, head: u64, oldest_after: Option<u64>) -> Beginning {
    match (last_seq, oldest_after) {
        (Some(last), Some(oldest)) if oldest == last.saturating_add(1) => Beginning::After(last),
        (Some(last), None) if last == head => Beginning::After(last),
        (Some(_) | None, _) => Beginning::Snapshot,
    }
}

/// Opens a stream. It ends after its first error.
pub(super) fn open(
    feeds: Feeds,
    seat: Seat,
    user_id: UserId,
    last_seq: Option<u64>,
) -> BoxStream<'static, Result<WatchResponse, Status>> {
    let watch = Watch {
        feeds,
        seat,
        user_id,
        position: Position::Before(last_seq),
        page: VecDeque::new(),
    };
    let step = |watch: Option<Watch>| async move {
        let mut watch = watch?;
        match watch.next().await {
            Ok(response) => {
                response.event.as_ref().inspect(|event| metric::sent(event));
                Some((Ok(response), Some(watch)))
            }
            Err(error) => {
                if !matches!(error, Error::Closed(_)) {
                    watch.seat.fail();
                }
                Some((Err(error.into()), None))
            }
        }
    };
    stream::unfold(Some(watch), step).boxed()
}

impl Watch {
    async fn next(&mut self) -> Result<WatchResponse, Error> {
        loop {
            if let Some(why) = self.seat.mailbox.closing() {
                return Err(Error::Closed(why));
            }
            if let Some(event) = self.page.pop_front() {
                self.seat.mailbox.took();
                self.position = Position::At(event.seq);
                return Ok(Arc::unwrap_or_clone(event));
            }
            match self.seat.mailbox.next() {
                Next::End(why) => return Err(Error::Closed(why)),
                Next::Beat => return Ok(self.sign_of_life()),
                Next::Tell(event) => match self.position {
                    Position::At(last) if event.seq <= last => {}
                    Position::At(last) if event.seq == last.saturating_add(1) => {
                        self.position = Position::At(event.seq);
                        return Ok(Arc::unwrap_or_clone(event));
                    }
                    Position::At(_) | Position::Before(_) => self.seat.mailbox.read_again(),
                },
                Next::Read => self.catch_up().await?,
                Next::Wait => self.seat.mailbox.changed().await,
            }
        }
    }

    fn sign_of_life(&self) -> WatchResponse {
        let (Position::At(seq) | Position::Before(Some(seq))) = self.position else {
            return WatchResponse {
                seq: 0,
                event: Some(heartbeat()),
            };
        };
        WatchResponse {
            seq,
            event: Some(heartbeat()),
        }
    }

    /// Reads on in the table. What a reading that is given up has found is read again.
    async fn catch_up(&mut self) -> Result<(), Error> {
        let mailbox = Arc::clone(&self.seat.mailbox);
        // Boxed: a stream that waits, as most do, does not hold the room that a reading needs.
        let read = Box::pin(self.read());
        let read = tokio::select! {
            read = read => read,
            () = mailbox.interrupted() => return Ok(()),
        };
        match read {
            Err(Error::Database(cause)) if barrier::reason(&cause) == rpc::error::Reason::Unavailable => {
                self.seat.stall();
                Ok(())
            }
            read => read,
        }
    }

    async fn read(&mut self) -> Result<(), Error> {
        // Never closed.
        let _reader = self.feeds.readers.acquire().await;
        let mailbox = &self.seat.mailbox;
        mailbox.begin_read();
        let after = match self.position {
            Position::At(last) => last,
            Position::Before(wanted) => match self.begin(wanted).await? {
                Beginning::After(last) => last,
                Beginning::Snapshot => {
                    let snapshot = self.feeds.snapshot(self.user_id).await?;
                    self.page.push_back(Arc::new(snapshot));
                    return Ok(());
                }
            },
        };
        self.position = Position::At(after);
        let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
        let rows = feed::page(&self.feeds.pool, self.user_id, after, limit).await?;
        if rows.first().is_some_and(|row| row.seq != after.saturating_add(1)) {
            // What comes next was deleted while the reader took its time.
            mailbox.close(Closing::TooSlow);
            return Ok(());
        }
        self.page.extend(self.feeds.load(&rows).await?);
        if rows.len() < PAGE {
            mailbox.go_live();
        }
        Ok(())
    }

    async fn begin(&self, wanted: Option<u64>) -> Result<Beginning, Error> {
        let Some(last) = wanted else {
            return Ok(Beginning::Snapshot);
        };
        // In this order: an event that comes in between is one of the page, and none that the head hides.
        let head = feed::head(&self.feeds.pool, self.user_id).await?;
        let next = feed::page(&self.feeds.pool, self.user_id, last, 1).await?;
        Ok(beginning(wanted, head, next.first().map(|row| row.seq)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_goes_on_where_its_reader_was() {
        assert_eq!(beginning(Some(3), 9, Some(4)), Beginning::After(3));
        assert_eq!(beginning(Some(0), 1, Some(1)), Beginning::After(0));
        assert_eq!(beginning(Some(9), 9, None), Beginning::After(9));
        assert_eq!(beginning(Some(0), 0, None), Beginning::After(0));
        // An event has come between the two looks.
        assert_eq!(beginning(Some(9), 9, Some(10)), Beginning::After(9));
    }

    #[test]
    fn a_stream_begins_with_a_snapshot_if_it_cannot_go_on() {
        assert_eq!(beginning(None, 9, Some(1)), Beginning::Snapshot);
        assert_eq!(beginning(Some(3), 9, Some(5)), Beginning::Snapshot, "too old");
        assert_eq!(
            beginning(Some(3), 9, None),
            Beginning::Snapshot,
            "nothing is kept"
        );
        assert_eq!(beginning(Some(10), 9, None), Beginning::Snapshot, "never was");
        assert_eq!(beginning(Some(u64::MAX), 9, None), Beginning::Snapshot);
    }
}
