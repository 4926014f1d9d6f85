//! Reads what `GET /metrics` answers, and checks it against the rules for names and labels.
//!
//! The rules: snake case; counters and nothing else end in `_total`; histograms end in their unit, which is a base unit;
//! every metric has a type and a help text; labels come from closed sets, so their names are in a list and their values
//! never look like an id.

use std::collections::{BTreeMap, BTreeSet};

mod rules;

/// Labels that metrics may have.
pub const LABELS: &[&str] = &[
    "cause",
    "channel",
    "circuit",
    "code",
    "decision",
    "invariant",
    "kind",
    "listener",
    "method",
    "op",
    "outcome",
    "participant",
    "phase",
    "pool",
    "queue",
    "reason",
    "route",
    "service",
    "state",
    "status",
    "step",
    "topic",
    "transport",
    "type",
    "version",
];

/// Type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts by buckets.
    Histogram,
    /// Quantiles, which cannot be added up over processes.
    Summary,
    /// No `# TYPE` line, or an unknown word in it.
    Untyped,
}

/// One number.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name with its ending, such as `_bucket`.
    pub name: String,
    /// Labels by name.
    pub labels: BTreeMap<String, String>,
    /// The number.
    pub value: f64,
}

impl Sample {
    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels
            .iter()
            .all(|(name, value)| self.labels.get(*name).is_some_and(|v| v == value))
    }
}

/// Everything of one name.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Its type.
    pub kind: Kind,
    /// Text of its `# HELP` line.
    pub help: Option<String>,
    /// Its numbers, in the order of the text.
    pub samples: Vec<Sample>,
}

/// What one scrape showed.
#[derive(Debug, Clone, PartialEq)]
pub struct Scrape {
    families: BTreeMap<String, Family>,
}

impl Scrape {
    /// Reads the text form, version 0.0.4.
    ///
    /// # Errors
    /// Names the first line that is not of that form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut families = BTreeMap::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            add(&mut families, line).ok_or_else(|| format!("not a line of metrics: {line:?}"))?;
        }
        Ok(Self { families })
    }

    /// Returns the metrics by name.
    #[must_use]
    pub fn families(&self) -> &BTreeMap<String, Family> {
        &self.families
    }

    /// Returns the one number of this name with exactly these labels. For histograms the name has its ending.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let exactly = |sample: &&Sample| sample.labels.len() == labels.len() && sample.has(labels);
        self.samples(name).find(exactly).map(|sample| sample.value)
    }

    /// Returns the sum of all numbers of this name that have these labels, whatever others they have; 0 without any.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let having = self.samples(name).filter(|sample| sample.has(labels));
        having.map(|sample| sample.value).sum()
    }

    /// Returns the values that a label has over all numbers of this name.
    #[must_use]
    pub fn values_of(&self, name: &str, label: &str) -> BTreeSet<String> {
        self.samples(name)
            .filter_map(|sample| sample.labels.get(label).cloned())
            .collect()
    }

    /// Returns every breach of the rules, one sentence each; none if all is well. `labels` are those that may be used.
    #[must_use]
    pub fn mistakes(&self, labels: &[&str]) -> Vec<String> {
        let each = self.families.iter();
        each.flat_map(|(name, family)| rules::mistakes(name, family, labels))
            .collect()
    }

    fn samples(&self, name: &str) -> impl Iterator<Item = &Sample> {
        let family = self.families.get(family_name(&self.families, name));
        family
            .into_iter()
            .flat_map(|family| &family.samples)
            .filter(move |sample| sample.name == name)
    }
}

/// Name of the metric that a number belongs to: a histogram's numbers have endings.
fn family_name<'a>(families: &BTreeMap<String, Family>, name: &'a str) -> &'a str {
    let endings = ["_bucket", "_sum", "_count"].into_iter();
    let base = endings
        .filter_map(|ending| name.strip_suffix(ending))
        .find(|base| {
            families
                .get(*base)
                .is_some_and(|family| matches!(family.kind, Kind::Histogram | Kind::Summary))
        });
    base.unwrap_or(name)
}

fn add(families: &mut BTreeMap<String, Family>, line: &str) -> Option<()> {
    if let Some(help) = line.strip_prefix("# HELP ") {
        let (name, text) = help.split_once(' ').unwrap_or((help, ""));
        family(families, name).help = Some(text.to_owned());
    } else if let Some(typed) = line.strip_prefix("# TYPE ") {
        let (name, kind) = typed.split_once(' ')?;
        family(families, name).kind = match kind {
            "counter" => Kind::Counter,
            "gauge" => Kind::Gauge,
            "histogram" => Kind::Histogram,
            "summary" => Kind::Summary,
            _ => Kind::Untyped,
        };
    } else if !line.starts_with('#') {
        let sample = sample(line)?;
        let name = family_name(families, &sample.name).to_owned();
        family(families, &name).samples.push(sample);
    }
    Some(())
}

fn family<'a>(families: &'a mut BTreeMap<String, Family>, name: &str) -> &'a mut Family {
    families.entry(name.to_owned()).or_insert_with(|| Family {
        kind: Kind::Untyped,
        help: None,
        samples: Vec::new(),
    })
}

/// Reads `name{label="value",…} number`, perhaps with a timestamp behind it.
fn sample(line: &str) -> Option<Sample> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    let rest = match rest.strip_prefix('{') {
        Some(rest) => label_pairs(rest, &mut labels)?,
        None => rest,
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    let name = name.to_owned();
    (!name.is_empty()).then_some(Sample { name, labels, value })
}

/// Reads labels up to the closing brace, and returns what stands behind it.
fn label_pairs<'a>(mut rest: &'a str, labels: &mut BTreeMap<String, String>) -> Option<&'a str> {
    loop {
        rest = rest.trim_start_matches([',', ' ']);
        if let Some(behind) = rest.strip_prefix('}') {
            return Some(behind);
        }
        let (name, quoted) = rest.split_once("=\"")?;
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        let end = loop {
            match chars.next()? {
                (at, '"') => break at + 1,
                (_, '\\') => match chars.next()? {
                    (_, 'n') => value.push('\n'),
                    (_, other) => value.push(other),
                },
                (_, other) => value.push(other),
            }
        };
        rest = &quoted[end..];
        if labels.insert(name.to_owned(), value).is_some() {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
# HELP saga_started_total Sagas started.
# TYPE saga_started_total counter
saga_started_total{type=\"TASK_RUN\"} 3
saga_started_total{type=\"WITHDRAWAL\"} 4

# HELP saga_duration_seconds From start to end.
# TYPE saga_duration_seconds histogram
saga_duration_seconds_bucket{type=\"TASK_RUN\",le=\"0.5\"} 1
saga_duration_seconds_bucket{type=\"TASK_RUN\",le=\"+Inf\"} 2
saga_duration_seconds_sum{type=\"TASK_RUN\"} 1.5
saga_duration_seconds_count{type=\"TASK_RUN\"} 2
# HELP saga_active Unfinished sagas.
# TYPE saga_active gauge
saga_active 0
";

    #[test]
    fn what_follows_the_rules_has_no_mistakes() {
        let scrape = Scrape::parse(GOOD).unwrap();
        assert_eq!(scrape.mistakes(LABELS), Vec::<String>::new());
        assert_eq!(scrape.families().len(), 3);
        assert_eq!(
            scrape.value("saga_started_total", &[("type", "TASK_RUN")]),
            Some(3.0)
        );
        assert_eq!(scrape.value("saga_started_total", &[]), None);
        assert_eq!(scrape.sum("saga_started_total", &[]), 7.0);
        assert_eq!(scrape.sum("saga_duration_seconds_count", &[]), 2.0);
        assert_eq!(scrape.values_of("saga_started_total", "type").len(), 2);
    }

    #[test]
    fn every_breach_of_a_rule_is_named() {
        let typed = |name: &str, kind: &str, samples: &str| {
            format!("# HELP {name} Text.\n# TYPE {name} {kind}\n{samples}\n")
        };
        for (text, word) in [
            (typed("Saga_total", "counter", "Saga_total 1"), "snake_case"),
            (typed("saga__total", "counter", "saga__total 1"), "snake_case"),
            (typed("saga_started", "counter", "saga_started 1"), "_total"),
            (typed("saga_total", "gauge", "saga_total 1"), "_total"),
            (typed("lag_ms", "gauge", "lag_ms 1"), "base unit"),
            (
                typed("lag_minutes_total", "counter", "lag_minutes_total 1"),
                "base unit",
            ),
            (
                typed(
                    "lag",
                    "histogram",
                    "lag_bucket{le=\"+Inf\"} 0\nlag_sum 0\nlag_count 0",
                ),
                "unit",
            ),
            (
                typed(
                    "lag_seconds",
                    "summary",
                    "lag_seconds{quantile=\"0.5\"} 1\nlag_seconds_count 1",
                ),
                "summary",
            ),
            (
                typed(
                    "lag_seconds",
                    "histogram",
                    "lag_seconds_bucket{le=\"1\"} 2\nlag_seconds_bucket{le=\"+Inf\"} 1\nlag_seconds_count 1",
                ),
                "falls",
            ),
            (
                typed(
                    "lag_seconds",
                    "histogram",
                    "lag_seconds_bucket{le=\"1\"} 0\nlag_seconds_count 1",
                ),
                "+Inf",
            ),
            ("# TYPE active gauge\nactive 1\n".to_owned(), "HELP"),
            ("# HELP active Text.\nactive 1\n".to_owned(), "TYPE"),
            (
                typed("active", "gauge", "active{saga_id=\"x\"} 1"),
                "label `saga_id`",
            ),
            (
                typed(
                    "active",
                    "gauge",
                    "active{type=\"01939a3c-5e8b-7c3f-9d2a-4b6c8e0f1a2b\"} 1",
                ),
                "looks like an id",
            ),
            (
                typed(
                    "active",
                    "gauge",
                    "active{type=\"saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b\"} 1",
                ),
                "looks like an id",
            ),
            (
                typed("active", "gauge", "active{type=\"order-1234567\"} 1"),
                "looks like an id",
            ),
            (typed("active", "gauge", "active{type=\"\"} 1"), "empty"),
            (typed("active", "gauge", "active 1\nactive 2"), "twice"),
            (typed("active", "gauge", "active NaN"), "NaN"),
            (typed("a_total", "counter", "a_total -1"), "negative"),
        ] {
            let mistakes = Scrape::parse(&text).unwrap().mistakes(LABELS);
            assert!(
                mistakes.iter().any(|mistake| mistake.contains(word)),
                "{word} is not among {mistakes:?} for:\n{text}"
            );
        }
    }

    #[test]
    fn ordinary_words_do_not_look_like_ids() {
        for value in [
            "TASK_RUN",
            "evenkeel.quota.v1",
            "RESERVE_QUOTA",
            "task.completed",
            "0.1.0",
            "sha256",
            "UNREACHABLE",
            "deadbeef",
            "quota-steps",
        ] {
            let text = format!("# HELP active T.\n# TYPE active gauge\nactive{{type=\"{value}\"}} 1\n");
            assert_eq!(
                Scrape::parse(&text).unwrap().mistakes(LABELS),
                Vec::<String>::new(),
                "{value}"
            );
        }
    }

    #[test]
    fn escaped_values_are_read_and_broken_lines_are_named() {
        let scrape = Scrape::parse("a{type=\"x\\\"y\\\\,z=\\n\",op=\"b\"} 1 1700000000\n").unwrap();
        assert_eq!(
            scrape.value("a", &[("type", "x\"y\\,z=\n"), ("op", "b")]),
            Some(1.0)
        );
        for wrong in ["a", "a{", "a{b=\"c} 1", "a{b=\"c\",b=\"d\"} 1", "a x", "{} 1"] {
            assert!(Scrape::parse(wrong).is_err(), "{wrong}");
        }
    }
}
