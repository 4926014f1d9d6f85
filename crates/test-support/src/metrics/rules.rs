//! The rules for one metric.

use std::collections::{BTreeMap, BTreeSet};

use super::{Family, Kind, Sample};

/// More series of one metric are a label whose set is not closed.
const MAX_SERIES: usize = 1_000;
/// Values of labels are names; a longer one is a text.
const MAX_VALUE_CHARS: usize = 100;
/// So many hexadecimal digits in a row, some of them decimal, are an id.
const ID_HEX_DIGITS: usize = 12;
/// So many decimal digits in a row are an id.
const ID_DIGITS: usize = 6;
/// What a histogram may measure.
const UNITS: [&str; 4] = ["_seconds", "_bytes", "_size", "_ratio"];
/// Units that are not base units.
const WRONG_UNITS: [&str; 14] = [
    "ms",
    "millis",
    "milliseconds",
    "us",
    "micros",
    "microseconds",
    "ns",
    "nanos",
    "nanoseconds",
    "minutes",
    "hours",
    "days",
    "kb",
    "percent",
];

pub(super) fn mistakes(name: &str, family: &Family, labels: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    of_name(name, family.kind, &mut found);
    if family.help.as_deref().is_none_or(|help| help.trim().is_empty()) {
        found.push(format!("{name}: no HELP; describe it where it is counted"));
    }
    match family.kind {
        Kind::Untyped => found.push(format!("{name}: no TYPE")),
        Kind::Summary => found.push(format!(
            "{name}: a summary cannot be added up over processes; give it buckets"
        )),
        Kind::Histogram => of_buckets(name, &family.samples, &mut found),
        Kind::Counter | Kind::Gauge => {}
    }
    of_series(name, family, labels, &mut found);
    found
}

fn of_name(name: &str, kind: Kind, found: &mut Vec<String>) {
    let word =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if !name.split('_').all(word) || name.starts_with(|c: char| c.is_ascii_digit()) {
        found.push(format!("{name}: not snake_case"));
    }
    if name.ends_with("_total") != (kind == Kind::Counter) {
        found.push(format!("{name}: counters end in _total, and nothing else does"));
    }
    if kind == Kind::Histogram && !UNITS.iter().any(|unit| name.ends_with(unit)) {
        found.push(format!("{name}: a histogram's name ends in its unit: {UNITS:?}"));
    }
    let last = name.trim_end_matches("_total").rsplit('_').next().unwrap_or("");
    if WRONG_UNITS.contains(&last) {
        found.push(format!("{name}: `{last}` is not a base unit"));
    }
}

fn of_series(name: &str, family: &Family, labels: &[&str], found: &mut Vec<String>) {
    // The buckets of a histogram are one series.
    let is_series = |sample: &&Sample| family.kind != Kind::Histogram || sample.name.ends_with("_count");
    let series = family.samples.iter().filter(is_series).count();
    if series > MAX_SERIES {
        found.push(format!(
            "{name}: {series} series; is the set of a label not closed?"
        ));
    }
    let mut seen = BTreeSet::new();
    for sample in &family.samples {
        let Sample {
            name: full,
            labels: pairs,
            value,
        } = sample;
        if !seen.insert((full, pairs)) {
            found.push(format!("{full}{pairs:?}: shown twice"));
        }
        if value.is_nan() {
            found.push(format!("{full}{pairs:?}: is NaN"));
        }
        if family.kind == Kind::Counter && *value < 0.0 {
            found.push(format!("{full}{pairs:?}: negative"));
        }
        for (label, value) in pairs {
            if label == "le" && family.kind == Kind::Histogram {
                continue;
            }
            if !labels.contains(&label.as_str()) {
                found.push(format!("{name}: label `{label}` is not in the list"));
            }
            if value.is_empty() {
                found.push(format!("{name}: label `{label}` is empty"));
            } else if looks_like_an_id(value) {
                found.push(format!(
                    "{name}: label `{label}` is {value:?}, which looks like an id"
                ));
            }
        }
    }
}

fn looks_like_an_id(value: &str) -> bool {
    if value.chars().count() > MAX_VALUE_CHARS {
        return true;
    }
    let digits = value.split(|c: char| !c.is_ascii_digit());
    if digits.map(str::len).max().unwrap_or(0) >= ID_DIGITS {
        return true;
    }
    // Hyphens of a UUID do not hide it.
    let joined = value.replace('-', "");
    let is_id = |run: &str| run.len() >= ID_HEX_DIGITS && run.bytes().any(|b| b.is_ascii_digit());
    joined.split(|c: char| !c.is_ascii_hexdigit()).any(is_id)
}

/// Buckets count up to their bound, so they never fall, and the last holds everything.
fn of_buckets(name: &str, samples: &[Sample], found: &mut Vec<String>) {
    let mut series: BTreeMap<BTreeMap<String, String>, Vec<(f64, f64)>> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for sample in samples {
        let mut labels = sample.labels.clone();
        let bound = labels.remove("le");
        if sample.name == format!("{name}_count") {
            counts.insert(labels, sample.value);
        } else if let Some(bound) = bound.and_then(|bound| bound.parse().ok()) {
            series.entry(labels).or_default().push((bound, sample.value));
        }
    }
    for (labels, count) in counts {
        let mut buckets = series.remove(&labels).unwrap_or_default();
        buckets.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        if !buckets.is_sorted_by(|(_, a), (_, b)| a <= b) {
            found.push(format!("{name}{labels:?}: a bucket falls"));
        }
        if buckets.last() != Some(&(f64::INFINITY, count)) {
            found.push(format!("{name}{labels:?}: the bucket +Inf is not the count"));
        }
    }
}
