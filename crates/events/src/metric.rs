//! Metrics. Labels are from closed sets: services, queues, and the topics a service declares; never ids or keys.

use metrics::{counter, describe_counter, describe_gauge, gauge};

/// Label of topics that a service has not declared as facts: those of definitions, which are not known here.
const OTHER: &str = "other";

/// Most unpublished rows that are counted.
pub(crate) const COUNTED_ROWS: i64 = 100_000;

/// What became of a message that was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Done,
    Duplicate,
    Retried,
    Dead,
}

impl Fate {
    const ALL: [Self; 4] = [Self::Done, Self::Duplicate, Self::Retried, Self::Dead];

    const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Duplicate => "duplicate",
            Self::Retried => "retried",
            Self::Dead => "dead",
        }
    }
}

/// Makes every series of a relay exist.
pub(crate) fn init_relay(service: &'static str, facts: &'static [&'static str]) {
    describe_counter!("events_published_total", "Events that the broker has confirmed.");
    describe_counter!(
        "events_unroutable_total",
        "Attempts to publish an event that somebody must take and no queue takes; it stays in the outbox."
    );
    describe_gauge!(
        "events_outbox_unpublished",
        "Events in an outbox that are not published yet, counted up to 100,000."
    );
    describe_gauge!(
        "events_outbox_oldest_seconds",
        "Age of the oldest event in an outbox that is not published yet."
    );
    for topic in facts.iter().copied().chain([OTHER]) {
        counter!("events_published_total", "service" => service, "topic" => topic).increment(0);
        counter!("events_unroutable_total", "service" => service, "topic" => topic).increment(0);
    }
    waiting(service, 0, 0.0);
}

/// Makes every series of a consumer exist.
pub(crate) fn init_consumer(queue: &'static str) {
    describe_counter!(
        "events_consumed_total",
        "Messages of a queue by what became of them: done, duplicate, retried, dead."
    );
    dead(queue.to_owned(), 0);
    for fate in Fate::ALL {
        counter!("events_consumed_total", "queue" => queue, "outcome" => fate.name()).increment(0);
    }
}

fn label(topic: &str, facts: &'static [&'static str]) -> &'static str {
    facts
        .iter()
        .find(|fact| **fact == topic)
        .copied()
        .unwrap_or(OTHER)
}

pub(crate) fn published(service: &'static str, topic: &str, facts: &'static [&'static str]) {
    counter!("events_published_total", "service" => service, "topic" => label(topic, facts)).increment(1);
}

pub(crate) fn unroutable(service: &'static str, topic: &str, facts: &'static [&'static str]) {
    counter!("events_unroutable_total", "service" => service, "topic" => label(topic, facts)).increment(1);
}

/// `rows` saturates at [`COUNTED_ROWS`]; `oldest` is in seconds.
pub(crate) fn waiting(service: &'static str, rows: i64, oldest: f64) {
    // Exact: at most 100,000.
    let rows = u32::try_from(rows).unwrap_or(u32::MAX);
    gauge!("events_outbox_unpublished", "service" => service).set(f64::from(rows));
    gauge!("events_outbox_oldest_seconds", "service" => service).set(oldest);
}

pub(crate) fn consumed(queue: &'static str, fate: Fate) {
    counter!("events_consumed_total", "queue" => queue, "outcome" => fate.name()).increment(1);
}

/// Describes what the keeper counts.
pub(crate) fn init_keeper() {
    describe_gauge!(
        "events_dead",
        "Dead letters of a queue. Every process reports the same number: take the maximum."
    );
}

/// Every process reports the same number; take the maximum, not the sum.
pub(crate) fn dead(queue: String, letters: i64) {
    let letters = u32::try_from(letters).unwrap_or(u32::MAX);
    gauge!("events_dead", "queue" => queue).set(f64::from(letters));
}
