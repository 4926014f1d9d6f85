//! The numbers of this process, as text that Prometheus reads.
//!
//! Names are given by who counts, with the macros of the `metrics` crate: snake case, the unit last and in base units
//! (`_seconds`, `_bytes`), `_total` for counters, and a description. Labels come from closed sets and never hold an id.
//! Every histogram has buckets, so that the numbers of several processes can be added up; without them the exporter would
//! compute quantiles, which cannot.

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::process_stats;

/// Content type of the text, as `GET /metrics` gives it.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// From a lookup in memory to a call that runs into its timeout, in seconds.
const CALLS: &[f64] = &[
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// As [`CALLS`], but few: there is a series for every step and outcome of every type of saga, in seconds.
const STEPS: &[f64] = &[0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];
/// From a saga of fast steps (2 ms) to one that waits for a person for days, in seconds.
const SAGAS: &[f64] = &[
    0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0,
    7_200.0, 86_400.0, 604_800.0,
];
/// Waits inside a process: tens of microseconds, unless it is overloaded; in seconds.
const LAGS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
    30.0,
];
/// How many things are done at once, by powers of two.
const SIZES: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0];
/// Messages, from one field to the limit of a listener, in bytes.
const BYTES: &[f64] = &[
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
];

/// Buckets by name; the exporter prefers a full name to an ending.
const BUCKETS: &[(&str, bool, &[f64])] = &[
    ("saga_duration_seconds", true, SAGAS),
    ("saga_step_duration_seconds", true, STEPS),
    ("_lag_seconds", false, LAGS),
    ("_seconds", false, CALLS),
    ("_size", false, SIZES),
    ("_bytes", false, BYTES),
];

/// Why metrics cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("metrics are already kept in this process")]
pub struct AlreadyInstalled;

/// The metrics of this process. Clones show the same numbers.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Installs the recorder that the macros of `metrics` write to. Call it before services are built: what is described or
/// counted earlier is lost.
///
/// # Errors
/// A second call in one process.
pub fn install() -> Result<Metrics, AlreadyInstalled> {
    let recorder = builder().build_recorder();
    let handle = recorder.handle();
    ::metrics::set_global_recorder(recorder).map_err(|_| AlreadyInstalled)?;
    Ok(Metrics { handle })
}

impl Metrics {
    /// Returns every number as text, those of the process (memory, processor time, files) included.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = self.handle.render();
        process_stats::append(&mut text);
        text
    }

    /// Sums up what histograms have collected. Without a call every few seconds their samples pile up in memory until the
    /// next [`render`](Self::render), which may never come.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }
}

fn builder() -> PrometheusBuilder {
    let mut builder = PrometheusBuilder::new()
        .set_buckets(CALLS)
        .expect("the list of buckets is not empty");
    for (name, full, buckets) in BUCKETS {
        let matcher = if *full {
            Matcher::Full((*name).to_owned())
        } else {
            Matcher::Suffix((*name).to_owned())
        };
        builder = builder
            .set_buckets_for_metric(matcher, buckets)
            .expect("the list of buckets is not empty");
    }
    builder
}

#[cfg(test)]
mod tests {
    use ::metrics::{Unit, counter, describe_counter, describe_histogram, gauge, histogram};

    use super::*;

    /// What a recorder of its own renders after `f`.
    fn rendered(f: impl FnOnce()) -> String {
        let recorder = builder().build_recorder();
        let handle = recorder.handle();
        ::metrics::with_local_recorder(&recorder, f);
        Metrics { handle }.render()
    }

    #[test]
    fn names_are_shown_as_they_were_given_with_their_description() {
        let text = rendered(|| {
            describe_counter!("saga_started_total", "Sagas started.");
            counter!("saga_started_total", "type" => "TASK_RUN").increment(2);
            gauge!("saga_active", "type" => "TASK_RUN", "phase" => "running").set(1.0);
        });
        for line in [
            "# HELP saga_started_total Sagas started.",
            "# TYPE saga_started_total counter",
            "saga_started_total{type=\"TASK_RUN\"} 2",
            "# TYPE saga_active gauge",
            "saga_active{type=\"TASK_RUN\",phase=\"running\"} 1",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing:\n{text}");
        }
    }

    #[test]
    fn every_histogram_has_buckets_that_fit_it() {
        let text = rendered(|| {
            describe_histogram!("saga_duration_seconds", Unit::Seconds, "From start to end.");
            for name in [
                "saga_duration_seconds",
                "saga_claim_lag_seconds",
                "saga_commit_batch_size",
                "anything_seconds",
            ] {
                histogram!(name).record(3.0);
            }
        });
        for line in [
            "saga_duration_seconds_bucket{le=\"604800\"} 1",
            "saga_claim_lag_seconds_bucket{le=\"0.00005\"} 0",
            "saga_commit_batch_size_bucket{le=\"4\"} 1",
            "anything_seconds_bucket{le=\"0.0005\"} 0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is missing:\n{text}");
        }
        assert!(!text.contains("quantile"), "{text}");
    }

    #[test]
    fn samples_survive_upkeep() {
        let recorder = builder().build_recorder();
        let metrics = Metrics {
            handle: recorder.handle(),
        };
        ::metrics::with_local_recorder(&recorder, || histogram!("a_seconds").record(1.0));
        metrics.upkeep();
        ::metrics::with_local_recorder(&recorder, || histogram!("a_seconds").record(1.0));
        assert!(
            metrics.render().contains("a_seconds_count 2"),
            "{}",
            metrics.render()
        );
    }
}
