//! Metrics. Labels are from closed sets: services of this process, outcomes.

use metrics::{counter, describe_counter, describe_gauge, gauge};

const EXPIRES: &str = "tls_certificate_expiry_timestamp_seconds";
const STALE: &str = "tls_files_broken";
const RELOADS: &str = "tls_reloads_total";
const HANDSHAKES: &str = "tls_handshakes_total";

/// How a handshake of a listener ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handshake {
    Done,
    /// The client showed no certificate, or one that is not believed, or spoke TLS as we do not.
    Refused,
    /// The client did not speak TLS.
    Plain,
    /// Nothing came in time.
    TooSlow,
}

impl Handshake {
    const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Plain => "plain",
            Self::TooSlow => "too_slow",
        }
    }
}

/// Describes what is counted; again does no harm.
pub(crate) fn describe() {
    describe_gauge!(
        EXPIRES,
        "When the certificate in use ends, in seconds since 1970."
    );
    describe_gauge!(
        STALE,
        "1 while the files have changed and cannot be used, so that the ones before are."
    );
    describe_counter!(RELOADS, "Changes of the files, by whether they are used.");
    describe_counter!(HANDSHAKES, "Handshakes of listeners, by outcome.");
}

#[expect(clippy::cast_precision_loss, reason = "seconds since 1970 fit into 53 bits")]
pub(crate) fn in_use(service: &str, not_after: i64) {
    gauge!(EXPIRES, "service" => service.to_owned()).set(not_after as f64);
    gauge!(STALE, "service" => service.to_owned()).set(0.0);
}

pub(crate) fn reloaded(service: &str) {
    counter!(RELOADS, "service" => service.to_owned(), "outcome" => "used").increment(1);
}

pub(crate) fn broken(service: &str) {
    gauge!(STALE, "service" => service.to_owned()).set(1.0);
    counter!(RELOADS, "service" => service.to_owned(), "outcome" => "broken").increment(1);
}

pub(crate) fn handshake(service: &str, outcome: Handshake) {
    counter!(HANDSHAKES, "service" => service.to_owned(), "outcome" => outcome.name()).increment(1);
}
