//! Metrics. Labels are from closed sets; never keys or callers.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_histogram, histogram};

/// What became of a request that may have a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    New,
    Replayed,
    InFlight,
    Mismatch,
    Unavailable,
    Bypassed,
    Invalid,
}

impl Outcome {
    const ALL: [Self; 7] = [
        Self::New,
        Self::Replayed,
        Self::InFlight,
        Self::Mismatch,
        Self::Unavailable,
        Self::Bypassed,
        Self::Invalid,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Replayed => "replayed",
            Self::InFlight => "in_flight",
            Self::Mismatch => "mismatch",
            Self::Unavailable => "unavailable",
            Self::Bypassed => "bypassed",
            Self::Invalid => "invalid",
        }
    }
}

/// Makes every series exist.
pub(crate) fn init() {
    describe_counter!(
        "idempotency_requests_total",
        "Requests that may have an Idempotency-Key by outcome: new, replayed, in_flight, mismatch, unavailable, bypassed \
         (no key), invalid."
    );
    describe_counter!(
        "idempotency_cache_hits_total",
        "Requests that were answered with what an earlier one had been answered."
    );
    describe_histogram!(
        "idempotency_seconds",
        "Time that idempotency added to a request with a key."
    );
    for outcome in Outcome::ALL {
        counter!("idempotency_requests_total", "outcome" => outcome.name()).increment(0);
    }
    counter!("idempotency_cache_hits_total").increment(0);
}

pub(crate) fn request(outcome: Outcome) {
    counter!("idempotency_requests_total", "outcome" => outcome.name()).increment(1);
    if outcome == Outcome::Replayed {
        counter!("idempotency_cache_hits_total").increment(1);
    }
}

pub(crate) fn added(time: Duration) {
    histogram!("idempotency_seconds").record(time.as_secs_f64());
}
