//! Metrics as a test sees them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// Keeps everything, by name and labels: `saga_active{type=TEST,phase=running}`.
#[derive(Debug, Default, Clone)]
pub(crate) struct Metrics(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    counters: BTreeMap<String, Arc<AtomicU64>>,
    gauges: BTreeMap<String, Arc<AtomicU64>>,
    histograms: BTreeMap<String, Arc<Samples>>,
    described: Vec<String>,
}

#[derive(Debug, Default)]
struct Samples(Mutex<Vec<f64>>);

impl HistogramFn for Samples {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

fn name(key: &Key) -> String {
    let labels: Vec<String> = key
        .labels()
        .map(|l| format!("{}={}", l.key(), l.value()))
        .collect();
    format!("{}{{{}}}", key.name(), labels.join(","))
}

impl Metrics {
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let kept = self.0.lock().unwrap();
        let counter = kept.counters.get(name);
        counter
            .unwrap_or_else(|| panic!("{name} is not there"))
            .load(Ordering::Relaxed)
    }

    pub(crate) fn gauge(&self, name: &str) -> f64 {
        let kept = self.0.lock().unwrap();
        let gauge = kept.gauges.get(name);
        f64::from_bits(
            gauge
                .unwrap_or_else(|| panic!("{name} is not there"))
                .load(Ordering::Relaxed),
        )
    }

    pub(crate) fn samples(&self, name: &str) -> Vec<f64> {
        let kept = self.0.lock().unwrap();
        let histogram = kept.histograms.get(name);
        histogram
            .unwrap_or_else(|| panic!("{name} is not there"))
            .0
            .lock()
            .unwrap()
            .clone()
    }

    /// Every series there is.
    pub(crate) fn series(&self) -> Vec<String> {
        let kept = self.0.lock().unwrap();
        let all = kept
            .counters
            .keys()
            .chain(kept.gauges.keys())
            .chain(kept.histograms.keys());
        all.cloned().collect()
    }

    pub(crate) fn described(&self) -> Vec<String> {
        self.0.lock().unwrap().described.clone()
    }

    /// Started + adopted - completed - compensated - resolved - released - active; by the law it is 0.
    pub(crate) fn imbalance(&self, saga_type: &str) -> i64 {
        let counter = |name: &str| {
            i64::try_from(self.counter(&format!("saga_{name}_total{{type={saga_type}}}"))).unwrap()
        };
        #[expect(clippy::cast_possible_truncation, reason = "a whole number")]
        let active =
            |phase: &str| self.gauge(&format!("saga_active{{type={saga_type},phase={phase}}}")) as i64;
        let gone = ["completed", "compensated", "resolved", "released"]
            .map(counter)
            .iter()
            .sum::<i64>();
        counter("started") + counter("adopted") - gone - active("running") - active("compensating")
    }
}

impl Recorder for Metrics {
    fn describe_counter(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.0.lock().unwrap().described.push(key.as_str().to_owned());
    }

    fn describe_gauge(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.0.lock().unwrap().described.push(key.as_str().to_owned());
    }

    fn describe_histogram(&self, key: KeyName, _: Option<Unit>, _: SharedString) {
        self.0.lock().unwrap().described.push(key.as_str().to_owned());
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::clone(
            self.0.lock().unwrap().counters.entry(name(key)).or_default(),
        ))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::clone(
            self.0.lock().unwrap().gauges.entry(name(key)).or_default(),
        ))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::clone(
            self.0.lock().unwrap().histograms.entry(name(key)).or_default(),
        ))
    }
}

/// Runs a test in virtual time with metrics of its own.
pub(crate) fn measured<F: Future<Output = ()>>(test: impl FnOnce(Metrics) -> F) {
    let metrics = Metrics::default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    metrics::with_local_recorder(&metrics, || runtime.block_on(test(metrics.clone())));
}
