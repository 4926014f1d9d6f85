//! The place where one stream waits for its events.
//!
//! A stream that has caught up is told events here, from memory. One that has not *reads* them from the table: then the
//! mailbox only notes that there is more, so a reader with a long way to go needs no memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::task::v1::WatchResponse;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Events that may wait for a reader. One that has as many when more come is too slow. (Events that come at once, as those
/// of one transaction do, may exceed it together.)
pub(super) const ROOM: usize = 64;

/// Why a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// The reader did not keep up.
    TooSlow,
    /// This process ends; another one goes on.
    ShuttingDown,
}

/// What a stream has to do next.
#[derive(Debug)]
pub(super) enum Next {
    Tell(Arc<WatchResponse>),
    Read,
    Beat,
    End(Closing),
    Wait,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The stream reads the table; `missed`: something may have been added since it began to read.
    Reading { missed: bool },
    /// The table could not be read; the stream waits until somebody has read from the database again.
    Stalled,
    /// The stream is told.
    Live,
}

#[derive(Debug)]
pub(super) struct Mailbox {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    queue: VecDeque<Arc<WatchResponse>>,
    closing: Option<Closing>,
    beat: bool,
    /// When the reader last took anything.
    last: Instant,
}

impl Mailbox {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                mode: Mode::Reading { missed: false },
                queue: VecDeque::new(),
                closing: None,
                beat: false,
                last: Instant::now(),
            }),
            changed: Notify::new(),
        }
    }

    /// Adds events in order. False if the reader is too slow for them; the stream then ends.
    pub(super) fn deliver(&self, events: &[Arc<WatchResponse>]) -> bool {
        let mut state = self.lock();
        match state.mode {
            Mode::Reading { .. } => state.mode = Mode::Reading { missed: true },
            Mode::Stalled => {}
            Mode::Live if state.queue.len() >= ROOM => {
                state.close(Closing::TooSlow);
                drop(state);
                self.changed.notify_one();
                return false;
            }
            Mode::Live => {
                state.queue.extend(events.iter().cloned());
                drop(state);
                self.changed.notify_one();
            }
        }
        true
    }

    /// Makes the stream read the table from where it is.
    pub(super) fn read_again(&self) {
        let mut state = self.lock();
        state.queue = VecDeque::new();
        state.mode = Mode::Reading { missed: true };
        drop(state);
        self.changed.notify_one();
    }

    /// Ends the stream. The first reason counts.
    pub(super) fn close(&self, why: Closing) {
        self.lock().close(why);
        self.changed.notify_one();
    }

    /// Makes a stream whose reading failed try again.
    pub(super) fn resume(&self) {
        let mut state = self.lock();
        if state.mode == Mode::Stalled {
            state.mode = Mode::Reading { missed: true };
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Makes the stream say that it lives if its reader has taken nothing for so long.
    pub(super) fn beat(&self, now: Instant, after: Duration) {
        let mut state = self.lock();
        if state.closing.is_none() && now.duration_since(state.last) >= after {
            state.beat = true;
            drop(state);
            self.changed.notify_one();
        }
    }

    /// Takes what is to be done next.
    pub(super) fn next(&self) -> Next {
        let mut state = self.lock();
        if let Some(why) = state.closing {
            return Next::End(why);
        }
        if let Some(event) = state.queue.pop_front() {
            if state.queue.is_empty() {
                // What a burst took is given back.
                state.queue = VecDeque::new();
            }
            state.took();
            return Next::Tell(event);
        }
        if state.beat {
            state.took();
            return Next::Beat;
        }
        match state.mode {
            Mode::Reading { .. } => Next::Read,
            Mode::Stalled | Mode::Live => Next::Wait,
        }
    }

    /// Returns why the stream ends, if it does.
    pub(super) fn closing(&self) -> Option<Closing> {
        self.lock().closing
    }

    /// Notes that the reader took an event that was read.
    pub(super) fn took(&self) {
        self.lock().took();
    }

    /// Notes that the stream is about to read.
    pub(super) fn begin_read(&self) {
        self.lock().mode = Mode::Reading { missed: false };
    }

    /// Lets the stream be told from now on, unless it may have missed something since it began to read.
    pub(super) fn go_live(&self) {
        let mut state = self.lock();
        if state.mode == (Mode::Reading { missed: false }) {
            state.mode = Mode::Live;
        }
    }

    /// Notes that the table could not be read.
    pub(super) fn stall(&self) {
        self.lock().mode = Mode::Stalled;
    }

    /// Waits until [`next`](Self::next) may say something else.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until a reading should be given up: the stream ends, or has to say that it lives.
    pub(super) async fn interrupted(&self) {
        loop {
            {
                let state = self.lock();
                if state.closing.is_some() || state.beat {
                    return;
                }
            }
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn close(&mut self, why: Closing) {
        self.closing.get_or_insert(why);
        self.queue = VecDeque::new();
    }

    fn took(&mut self) {
        self.beat = false;
        self.last = Instant::now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(seqs: std::ops::RangeInclusive<u64>) -> Vec<Arc<WatchResponse>> {
        seqs.map(|seq| Arc::new(WatchResponse { seq, event: None }))
            .collect()
    }

    fn live() -> Mailbox {
        let mailbox = Mailbox::new();
        mailbox.begin_read();
        mailbox.go_live();
        mailbox
    }

    fn told(mailbox: &Mailbox) -> Vec<u64> {
        std::iter::from_fn(|| match mailbox.next() {
            Next::Tell(event) => Some(event.seq),
            Next::Read | Next::Beat | Next::End(_) | Next::Wait => None,
        })
        .collect()
    }

    #[test]
    fn a_live_stream_is_told_in_order() {
        let mailbox = live();
        assert!(mailbox.deliver(&events(1..=2)));
        assert!(mailbox.deliver(&events(3..=3)));
        assert_eq!(told(&mailbox), [1, 2, 3]);
        assert!(matches!(mailbox.next(), Next::Wait));
    }

    #[test]
    fn what_comes_while_the_table_is_read_is_read_as_well() {
        let mailbox = Mailbox::new();
        mailbox.begin_read();
        assert!(mailbox.deliver(&events(1..=1)));
        mailbox.go_live();
        assert!(matches!(mailbox.next(), Next::Read));
        mailbox.begin_read();
        mailbox.go_live();
        assert!(matches!(mailbox.next(), Next::Wait));
    }

    #[test]
    fn a_reader_that_does_not_keep_up_is_ended_and_its_events_are_dropped() {
        let mailbox = live();
        assert!(mailbox.deliver(&events(1..=63)));
        assert!(
            mailbox.deliver(&events(64..=500)),
            "one burst may exceed the room"
        );
        assert!(!mailbox.deliver(&events(501..=501)));
        assert!(matches!(mailbox.next(), Next::End(Closing::TooSlow)));
        mailbox.close(Closing::ShuttingDown);
        assert_eq!(
            mailbox.closing(),
            Some(Closing::TooSlow),
            "the first reason counts"
        );
    }

    #[test]
    fn a_reader_that_reads_the_table_is_never_too_slow() {
        let mailbox = Mailbox::new();
        for seq in 1..1_000 {
            assert!(mailbox.deliver(&events(seq..=seq)));
        }
        assert_eq!(mailbox.closing(), None);
        assert!(told(&mailbox).is_empty());
    }

    #[test]
    fn a_stalled_reading_goes_on_when_it_is_told_to() {
        let mailbox = Mailbox::new();
        mailbox.stall();
        assert!(matches!(mailbox.next(), Next::Wait));
        assert!(mailbox.deliver(&events(1..=1)));
        assert!(matches!(mailbox.next(), Next::Wait));
        mailbox.resume();
        assert!(matches!(mailbox.next(), Next::Read));
    }

    #[test]
    fn a_stream_says_that_it_lives_only_after_silence() {
        let mailbox = live();
        let silent_for = |seconds| {
            let now = Instant::now() + Duration::from_secs(seconds);
            mailbox.beat(now, Duration::from_secs(15));
            mailbox.next()
        };
        assert!(matches!(silent_for(14), Next::Wait));
        assert!(matches!(silent_for(15), Next::Beat));
        assert!(matches!(silent_for(0), Next::Wait), "once");
        mailbox.beat(Instant::now() + Duration::from_secs(15), Duration::from_secs(15));
        mailbox.deliver(&events(1..=1));
        assert_eq!(told(&mailbox), [1]);
        assert!(matches!(mailbox.next(), Next::Wait), "an event is a sign of life");
    }
}
