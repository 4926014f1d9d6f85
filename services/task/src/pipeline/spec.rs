//! A pipeline as it is configured, and what is checked before it is used.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::kinds::Kind;
use super::template;

/// Most steps of a pipeline.
pub const MAX_STEPS: usize = 64;
/// Longest name of a step or a provider, in bytes.
pub const MAX_NAME_BYTES: usize = 64;
/// Most repetitions of a step.
pub const MAX_RETRIES: u32 = 100;

/// Steps, carried out one after the other. The output of the last one is the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// The steps, 1 to [`MAX_STEPS`].
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Name, unique in its pipeline: 1 to [`MAX_NAME_BYTES`] of `A-Z`, `0-9`, `_`.
    pub name: String,
    /// What it does.
    #[serde(flatten)]
    pub kind: Kind,
}

/// How a step is repeated after a failure that may pass.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// Repetitions after the first call, 0 to [`MAX_RETRIES`].
    pub retries: u32,
    /// Longest wait before the first repetition.
    #[serde(with = "humantime_serde")]
    pub initial: Duration,
    /// What the wait is multiplied with each time, 1 to 10.
    pub factor: f64,
    /// Longest wait of all.
    #[serde(with = "humantime_serde")]
    pub max: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            retries: 3,
            initial: Duration::from_millis(200),
            factor: 2.0,
            max: Duration::from_secs(10),
        }
    }
}

impl Retry {
    /// Returns the wait after a number of failures, from 1; `jitter` in 0..1 picks a point in its upper half.
    #[must_use]
    pub fn wait(&self, failures: u32, jitter: f64) -> Duration {
        let exponent = i32::try_from(failures.saturating_sub(1).min(64)).unwrap_or(64);
        let cap = self.initial.as_secs_f64() * self.factor.powi(exponent);
        let cap = cap.min(self.max.as_secs_f64());
        Duration::try_from_secs_f64(cap * (0.5 + jitter.clamp(0.0, 1.0) / 2.0)).unwrap_or(self.max)
    }

    /// Says what is wrong with the numbers.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.retries > MAX_RETRIES {
            problems.push(format!("retry.retries is above {MAX_RETRIES}"));
        }
        if !(1.0..=10.0).contains(&self.factor) {
            problems.push("retry.factor must be 1 to 10".to_owned());
        }
        if self.initial.is_zero() || self.initial > self.max {
            problems.push("retry.initial must be above zero and at most retry.max".to_owned());
        }
        if self.max > Duration::from_secs(3600) {
            problems.push("retry.max is above 1 h".to_owned());
        }
        problems
    }
}

/// Something wrong in the configuration of features and providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, for example `features.translate.pipeline.steps.DETECT`.
    pub place: String,
    /// What.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// What a step may refer to.
#[derive(Debug)]
pub struct Scope<'a> {
    /// Names of the configured providers.
    pub providers: &'a [&'a str],
    /// Names of the steps before this one.
    pub earlier: &'a [&'a str],
}

impl Scope<'_> {
    /// Says what is wrong with a template at `field`.
    #[must_use]
    pub fn template_problems(&self, field: &str, template: &Value) -> Vec<String> {
        match template::paths(template) {
            Err(error) => vec![format!("{field}: {error}")],
            Ok(paths) => paths
                .iter()
                .filter_map(template::Path::step)
                .filter(|step| !self.earlier.contains(step))
                .map(|step| format!("{field}: no earlier step is named {step:?}"))
                .collect(),
        }
    }
}

impl Pipeline {
    /// Says everything that is wrong with the pipeline; `place` is where it stands.
    #[must_use]
    pub fn problems(&self, place: &str, providers: &[&str]) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut say = |place: String, message: String| problems.push(Problem { place, message });
        if self.steps.is_empty() || self.steps.len() > MAX_STEPS {
            say(place.to_owned(), format!("a pipeline has 1 to {MAX_STEPS} steps"));
        }
        let mut earlier: Vec<&str> = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let at = format!("{place}.steps.{}", step_place(step, index));
            if !is_step_name(&step.name) {
                say(at.clone(), "name must be 1 to 64 of A-Z, 0-9 and _".to_owned());
            }
            if earlier.contains(&step.name.as_str()) {
                say(at.clone(), "another step has this name".to_owned());
            }
            let scope = Scope {
                providers,
                earlier: &earlier,
            };
            for message in step.kind.handler().problems(&scope) {
                say(at.clone(), message);
            }
            earlier.push(&step.name);
        }
        problems
    }
}

/// Names a step in a message; by its position if its name is unusable.
fn step_place(step: &Step, index: usize) -> String {
    if is_step_name(&step.name) {
        step.name.clone()
    } else {
        index.to_string()
    }
}

fn is_step_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// Tells whether a feature or a provider may be named so: 1 to 64 of `a-z`, `0-9`, `_`, `-`.
#[must_use]
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
}

/// A title, a price, a time and a pipeline: what a task can run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// For people, at most 200 characters.
    pub title: String,
    /// Quota one task costs, 1 to 1,000,000,000.
    #[serde(default = "one")]
    pub amount: i64,
    /// Machine time the whole task may take, 1 s to 24 h.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// What is done.
    pub pipeline: Pipeline,
}

const fn one() -> i64 {
    1
}

/// Says everything that is wrong with the features.
#[must_use]
pub fn feature_problems(features: &BTreeMap<String, Feature>, providers: &[&str]) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (id, feature) in features {
        let place = format!("features.{id}");
        let mut say = |message: &str| {
            problems.push(Problem {
                place: place.clone(),
                message: message.to_owned(),
            });
        };
        if !is_name(id) {
            say("a feature is named by 1 to 64 of a-z, 0-9, _ and -");
        }
        if feature.title.chars().count() > 200 {
            say("title is longer than 200 characters");
        }
        if !(1..=1_000_000_000).contains(&feature.amount) {
            say("amount must be 1 to 1,000,000,000");
        }
        if !(Duration::from_secs(1)..=Duration::from_secs(86_400)).contains(&feature.deadline) {
            say("deadline must be 1 s to 24 h");
        }
        problems.extend(feature.pipeline.problems(&format!("{place}.pipeline"), providers));
    }
    problems
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn pipeline(steps: Value) -> Pipeline {
        serde_json::from_value(json!({ "steps": steps })).unwrap()
    }

    fn problems(steps: Value) -> Vec<String> {
        let found = pipeline(steps).problems("features.x.pipeline", &["ai"]);
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_pipeline_reads_back_as_it_was_written() {
        let read = pipeline(json!([
            { "name": "ASK", "kind": "http", "provider": "ai", "path": "/v1/generate",
              "body": { "prompt": "{{input.text}}" }, "timeout": "5s", "retry": { "retries": 1 } },
            { "name": "PAUSE", "kind": "delay", "for": "2s" },
            { "name": "SHAPE", "kind": "transform", "output": { "text": "{{steps.ASK.output.output}}" } },
        ]));
        assert_eq!(read.problems("p", &["ai"]), []);
        let again: Pipeline = serde_json::from_value(serde_json::to_value(&read).unwrap()).unwrap();
        assert_eq!(again, read);
    }

    #[test]
    fn every_mistake_is_named_with_its_place() {
        let found = problems(json!([
            { "name": "ask", "kind": "http", "provider": "nobody", "path": "v1" },
            { "name": "B", "kind": "transform", "output": "{{steps.C.output.x}}" },
            { "name": "C", "kind": "transform", "output": "{{steps.B.output" },
            { "name": "C", "kind": "delay", "for": "0s" },
        ]));
        let expected = [
            "features.x.pipeline.steps.0: name must be 1 to 64 of A-Z, 0-9 and _",
            "features.x.pipeline.steps.0: no provider is named \"nobody\"",
            "features.x.pipeline.steps.0: path must start with /",
            "features.x.pipeline.steps.B: output: no earlier step is named \"C\"",
            "features.x.pipeline.steps.C: output: \"{{steps.B.output\" has {{ without }}",
            "features.x.pipeline.steps.C: another step has this name",
            "features.x.pipeline.steps.C: for must be above zero and at most 24 h",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_unknown_field_or_kind_is_refused() {
        for step in [
            json!({ "name": "A", "kind": "dance" }),
            json!({ "name": "A", "kind": "delay", "for": "1s", "fro": "1s" }),
            json!({ "name": "A", "kind": "http", "provider": "ai", "path": "/", "methdo": "GET" }),
            json!({ "name": "A", "kind": "delay", "for": "soon" }),
        ] {
            let read: Result<Pipeline, _> = serde_json::from_value(json!({ "steps": [step] }));
            assert!(read.is_err(), "{read:?}");
        }
    }

    #[test]
    fn an_empty_pipeline_is_a_mistake() {
        assert_eq!(
            problems(json!([])),
            ["features.x.pipeline: a pipeline has 1 to 64 steps"]
        );
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let retry = Retry::default();
        let waits: Vec<u128> = [1, 2, 3, 10, u32::MAX]
            .map(|n| retry.wait(n, 1.0).as_millis())
            .into();
        assert_eq!(waits, [200, 400, 800, 10_000, 10_000]);
    }

    proptest! {
        #[test]
        fn no_wait_is_above_the_cap(failures: u32, jitter in 0.0..1.0f64, factor in 1.0..10.0f64) {
            let retry = Retry { factor, ..Retry::default() };
            prop_assert!(retry.wait(failures, jitter) <= retry.max);
        }
    }
}
