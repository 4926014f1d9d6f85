//! Metrics of watching. Labels are from closed sets; never users or ids.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use proto::task::v1::watch_response::Event;

/// Why a stream has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    Left,
    Slow,
    Shutdown,
    Failed,
}

impl Cause {
    const ALL: [Self; 4] = [Self::Left, Self::Slow, Self::Shutdown, Self::Failed];

    const fn name(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Slow => "slow",
            Self::Shutdown => "shutdown",
            Self::Failed => "failed",
        }
    }
}

const TYPES: [&str; 4] = ["task", "notification", "snapshot", "heartbeat"];

const fn type_of(event: &Event) -> &'static str {
    match event {
        Event::Task(_) => "task",
        Event::Notification(_) => "notification",
        Event::Snapshot(_) => "snapshot",
        Event::Heartbeat(_) => "heartbeat",
    }
}

/// Makes every series exist.
pub(super) fn init() {
    describe_gauge!("task_watch_streams", "Streams that watch a feed.");
    describe_counter!(
        "task_watch_events_total",
        "Messages given to streams, by type: task, notification, snapshot, heartbeat."
    );
    describe_counter!(
        "task_watch_closed_total",
        "Streams that have ended, by reason: left, slow, shutdown, failed."
    );
    describe_histogram!(
        "task_feed_poll_seconds",
        Unit::Seconds,
        "Time from asking the database for new events until they are given to their streams."
    );
    streams(0);
    for name in TYPES {
        counter!("task_watch_events_total", "type" => name).increment(0);
    }
    for cause in Cause::ALL {
        counter!("task_watch_closed_total", "reason" => cause.name()).increment(0);
    }
}

pub(super) fn streams(open: usize) {
    gauge!("task_watch_streams").set(f64::from(u32::try_from(open).unwrap_or(u32::MAX)));
}

pub(super) fn sent(event: &Event) {
    counter!("task_watch_events_total", "type" => type_of(event)).increment(1);
}

pub(super) fn closed(cause: Cause) {
    counter!("task_watch_closed_total", "reason" => cause.name()).increment(1);
}

pub(super) fn polled(took: Duration) {
    histogram!("task_feed_poll_seconds").record(took.as_secs_f64());
}
