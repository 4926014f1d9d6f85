//! Configuration: features, providers, the worker, and how long callers wait.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::pipeline::kinds::http::{Provider, Providers};
use crate::pipeline::spec::{Feature, Problem, feature_problems};

/// Name of the provider that the built-in features call.
pub const DEMO_PROVIDER: &str = "demo_ai";
/// Where the built-in provider is expected if nothing is configured.
const DEMO_URL: &str = "http://127.0.0.1:7590";

/// Configuration of the task service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What tasks can run, by feature id. Given features replace the built-in ones.
    pub features: BTreeMap<String, Feature>,
    /// Who is called by pipelines, by name. Given providers replace the built-in one, `demo_ai`.
    pub providers: BTreeMap<String, Provider>,
    /// The background worker.
    pub worker: Worker,
    /// The streams that tell users what happens.
    pub watch: Watch,
    /// How long CreateTask waits for the task to exist, above zero, at most 60 s.
    #[serde(with = "humantime_serde")]
    pub create_wait: Duration,
    /// How long CancelTask waits for the task to be cancelled, above zero, at most 60 s.
    #[serde(with = "humantime_serde")]
    pub cancel_wait: Duration,
}

/// Limits of the worker that carries out pipelines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Worker {
    /// Runs at the same time in this process, 1 to 1,000.
    pub parallel: u32,
    /// How long a run stays with a worker that gives no sign of life, 1 s to 10 min. The worker gives one every quarter.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// How often due runs are looked for, 10 ms to 1 min. Hints within the process make it earlier.
    #[serde(with = "humantime_serde")]
    pub scan: Duration,
    /// How long calls under way may take to end when the process stops, at most 1 min. Later they are broken off, and
    /// made again by whoever continues the run.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

/// Limits of the streams that tell users what happens to their tasks and notifications.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Watch {
    /// How often what other processes have committed is looked for, 20 ms to 10 s. Commits of this process are told at
    /// once; without streams nothing is looked for.
    #[serde(with = "humantime_serde")]
    pub poll: Duration,
    /// Silence after which a stream says that it lives, 100 ms to 10 min.
    #[serde(with = "humantime_serde")]
    pub heartbeat: Duration,
    /// Streams of one user in this process, 1 to 1,000.
    pub streams_per_user: usize,
}

impl Default for Watch {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(100),
            heartbeat: Duration::from_secs(15),
            streams_per_user: 10,
        }
    }
}

impl Default for Worker {
    fn default() -> Self {
        Self {
            parallel: 32,
            lease: Duration::from_secs(10),
            scan: Duration::from_millis(500),
            drain: Duration::from_secs(5),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            features: built_in_features(),
            providers: [(DEMO_PROVIDER.to_owned(), Provider::new(DEMO_URL))].into(),
            worker: Worker::default(),
            watch: Watch::default(),
            create_wait: Duration::from_secs(10),
            cancel_wait: Duration::from_secs(5),
        }
    }
}

/// The configuration cannot be used; every mistake is named.
#[derive(Debug, thiserror::Error)]
#[error("task: {} mistake(s) in the configuration: {}", .problems.len(), listed(.problems))]
pub struct Error {
    /// The mistakes.
    pub problems: Vec<Problem>,
}

fn listed(problems: &[Problem]) -> String {
    let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
    texts.join("; ")
}

impl Config {
    /// Returns the built-in configuration with the provider `demo_ai` at `url`.
    #[must_use]
    pub fn with_demo_provider(url: impl Into<String>) -> Self {
        let mut config = Self::default();
        config
            .providers
            .insert(DEMO_PROVIDER.to_owned(), Provider::new(url));
        config
    }

    /// Checks everything and makes the providers ready; `env` reads an environment variable.
    ///
    /// # Errors
    /// Every mistake found.
    pub fn check(&self, env: impl Fn(&str) -> Option<String>) -> Result<Providers, Error> {
        let names: Vec<&str> = self.providers.keys().map(String::as_str).collect();
        let mut problems = feature_problems(&self.features, &names);
        problems.extend(self.limit_problems());
        match Providers::build(&self.providers, env) {
            Ok(providers) if problems.is_empty() => Ok(providers),
            Ok(_) => Err(Error { problems }),
            Err(more) => {
                problems.extend(more);
                Err(Error { problems })
            }
        }
    }

    fn limit_problems(&self) -> Vec<Problem> {
        let minute = Duration::from_secs(60);
        let second = Duration::from_secs(1);
        let checks = [
            (
                "worker.parallel",
                (1..=1000).contains(&self.worker.parallel),
                "must be 1 to 1,000",
            ),
            (
                "worker.lease",
                (second..=minute * 10).contains(&self.worker.lease),
                "must be 1 s to 10 min",
            ),
            (
                "worker.scan",
                (Duration::from_millis(10)..=minute).contains(&self.worker.scan),
                "must be 10 ms to 1 min",
            ),
            (
                "worker.drain",
                self.worker.drain <= minute,
                "must be at most 1 min",
            ),
            (
                "watch.poll",
                (Duration::from_millis(20)..=second * 10).contains(&self.watch.poll),
                "must be 20 ms to 10 s",
            ),
            (
                "watch.heartbeat",
                (Duration::from_millis(100)..=minute * 10).contains(&self.watch.heartbeat),
                "must be 100 ms to 10 min",
            ),
            (
                "watch.streams_per_user",
                (1..=1000).contains(&self.watch.streams_per_user),
                "must be 1 to 1,000",
            ),
            (
                "create_wait",
                !self.create_wait.is_zero() && self.create_wait <= minute,
                "must be above zero and at most 60 s",
            ),
            (
                "cancel_wait",
                !self.cancel_wait.is_zero() && self.cancel_wait <= minute,
                "must be above zero and at most 60 s",
            ),
        ];
        checks
            .into_iter()
            .filter(|(_, right, _)| !right)
            .map(|(place, _, message)| Problem {
                place: place.to_owned(),
                message: message.to_owned(),
            })
            .collect()
    }
}

/// Two features that work against any provider that speaks `POST /v1/generate` as the double does.
fn built_in_features() -> BTreeMap<String, Feature> {
    let generate = |name: &str, prompt: &str| {
        json!({
            "name": name, "kind": "http", "provider": DEMO_PROVIDER, "path": "/v1/generate",
            "body": { "prompt": prompt },
        })
    };
    let features = json!({
        "summarize": {
            "title": "Summarize a text",
            "amount": 1,
            "deadline": "2m",
            "pipeline": { "steps": [
                generate("SUMMARIZE", "Summarize in one paragraph: {{input.text}}"),
                { "name": "SHAPE", "kind": "transform", "output": {
                    "summary": "{{steps.SUMMARIZE.output.output}}",
                    "model": "{{steps.SUMMARIZE.output.model}}",
                } },
            ] },
        },
        "translate": {
            "title": "Translate a text",
            "amount": 2,
            "deadline": "5m",
            "pipeline": { "steps": [
                generate("DETECT", "Name the language of: {{input.text}}"),
                { "name": "PAUSE", "kind": "delay", "for": "500ms" },
                generate("TRANSLATE", "Translate into {{input.language}}: {{input.text}}"),
                { "name": "SHAPE", "kind": "transform", "output": {
                    "language": "{{input.language}}",
                    "detected": "{{steps.DETECT.output.output}}",
                    "translation": "{{steps.TRANSLATE.output.output}}",
                } },
            ] },
        },
    });
    serde_json::from_value(features)
        .expect("the built-in features are written as features are read; a test reads them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_configuration_is_right() {
        let config = Config::default();
        assert!(config.check(|_| None).is_ok());
        assert_eq!(
            config.features.keys().collect::<Vec<_>>(),
            ["summarize", "translate"]
        );
    }

    #[test]
    fn a_configuration_reads_back_as_it_was_written() {
        let config = Config::with_demo_provider("http://127.0.0.1:1");
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
    }

    #[test]
    fn every_mistake_is_listed() {
        let mut config = Config::with_demo_provider("nowhere");
        config.worker.parallel = 0;
        config.watch.poll = Duration::ZERO;
        config.watch.heartbeat = Duration::ZERO;
        config.watch.streams_per_user = 0;
        config.create_wait = Duration::ZERO;
        let feature = config.features.get_mut("summarize").unwrap();
        feature.amount = 0;
        feature.deadline = Duration::ZERO;
        let error = config.check(|_| None).unwrap_err();
        let places: Vec<&str> = error.problems.iter().map(|p| p.place.as_str()).collect();
        let expected = [
            "features.summarize",
            "features.summarize",
            "worker.parallel",
            "watch.poll",
            "watch.heartbeat",
            "watch.streams_per_user",
            "create_wait",
            "providers.demo_ai",
        ];
        assert_eq!(places, expected);
        assert!(
            error.to_string().contains("amount must be 1 to 1,000,000,000"),
            "{error}"
        );
    }

    #[test]
    fn an_unknown_setting_is_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"worker": {"paralell": 3}}"#).is_err());
    }
}
