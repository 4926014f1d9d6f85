//! A step that calls a provider over HTTP.
//!
//! What the answer says: 2xx with a JSON body is the output. 429 is "later": the time of `Retry-After` is waited, and no
//! retry used up. 5xx, and anything that keeps a whole answer from arriving, is repeated. Any other status is a
//! definite failure.
//!
//! The attempt's request id goes out as `Idempotency-Key` and `X-Request-Id`. A 429 or 5xx ends an attempt, and the next
//! call has a new id. After a timeout, a broken connection, a body that is not JSON, 502 and 504 (which a gateway sends
//! in place of an answer it never saw) nobody knows whether the provider did the work: the same id is sent again.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Method, StatusCode, Url};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Again, Call, Handler, Outcome};
use crate::pipeline::spec::{Problem, Retry, Scope, is_name};
use crate::pipeline::template;

/// Largest answer that is read, in bytes.
pub const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// Longest time that a `Retry-After` is obeyed.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);
/// Wait after a 429 without a usable `Retry-After`.
const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);
/// A connection that is not made within this time counts as failed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest timeout of a call.
const MAX_TIMEOUT: Duration = Duration::from_secs(600);

/// Calls a provider. Its output is the JSON of the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Name of a configured provider.
    pub provider: String,
    /// Path below the provider's URL; starts with `/`.
    pub path: String,
    /// Method; `POST` if absent.
    #[serde(default)]
    pub method: Verb,
    /// Body, as a [template](crate::pipeline::template); none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Longest time of one call, connect and body included; the provider's if absent. At most 10 min.
    #[serde(default, with = "humantime_serde", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Duration>,
    /// How failures that may pass are repeated.
    #[serde(default)]
    pub retry: Retry,
}

/// Method of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verb {
    /// GET.
    Get,
    /// POST.
    #[default]
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

/// Where a provider is, and how it is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provider {
    /// Base URL, http or https.
    pub url: String,
    /// Name of the environment variable with its key, sent as `Authorization: Bearer`; no key if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_env: Option<String>,
    /// Longest time of one call where the step says nothing; at most 10 min.
    #[serde(default = "default_timeout", with = "humantime_serde")]
    pub timeout: Duration,
}

const fn default_timeout() -> Duration {
    Duration::from_secs(30)
}

impl Provider {
    /// Describes a provider without a key and with the default timeout of 30 s.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            key_env: None,
            timeout: default_timeout(),
        }
    }
}

/// Providers, ready to be called. Keys are not shown by `Debug`.
#[derive(Debug)]
pub struct Providers {
    client: Client,
    ready: BTreeMap<String, Ready>,
}

struct Ready {
    url: String,
    key: Option<String>,
    timeout: Duration,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready")
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}

impl Providers {
    /// Makes providers ready; `env` reads an environment variable.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn build(
        providers: &BTreeMap<String, Provider>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut ready = BTreeMap::new();
        for (name, provider) in providers {
            let mut say = |message: String| {
                problems.push(Problem {
                    place: format!("providers.{name}"),
                    message,
                });
            };
            if !is_name(name) {
                say("a provider is named by 1 to 64 of a-z, 0-9, _ and -".to_owned());
            }
            if !Url::parse(&provider.url).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) {
                say(format!("{:?} is not an http or https URL", provider.url));
            }
            if provider.timeout.is_zero() || provider.timeout > MAX_TIMEOUT {
                say("timeout must be above zero and at most 10 min".to_owned());
            }
            let key = match &provider.key_env {
                None => None,
                Some(variable) => match env(variable).filter(|key| !key.is_empty()) {
                    Some(key) => Some(key),
                    None => {
                        say(format!("the environment variable {variable} is not set"));
                        None
                    }
                },
            };
            ready.insert(
                name.clone(),
                Ready {
                    url: provider.url.trim_end_matches('/').to_owned(),
                    key,
                    timeout: provider.timeout,
                },
            );
        }
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .build();
        match client {
            Ok(client) if problems.is_empty() => Ok(Self { client, ready }),
            Ok(_) => Err(problems),
            Err(error) => {
                problems.push(Problem {
                    place: "providers".to_owned(),
                    message: format!("no HTTP client: {error}"),
                });
                Err(problems)
            }
        }
    }
}

impl Handler for Http {
    fn problems(&self, scope: &Scope<'_>) -> Vec<String> {
        let mut problems = Vec::new();
        if !scope.providers.contains(&self.provider.as_str()) {
            problems.push(format!("no provider is named {:?}", self.provider));
        }
        if !self.path.starts_with('/') {
            problems.push("path must start with /".to_owned());
        }
        if self.timeout.is_some_and(|t| t.is_zero() || t > MAX_TIMEOUT) {
            problems.push("timeout must be above zero and at most 10 min".to_owned());
        }
        problems.extend(self.retry.problems());
        if let Some(body) = &self.body {
            problems.extend(scope.template_problems("body", body));
        }
        problems
    }

    fn retry(&self) -> Retry {
        self.retry.clone()
    }

    fn attempt<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Outcome> {
        async move { self.call(call).await.unwrap_or_else(|failure| failure) }.boxed()
    }
}

impl Http {
    async fn call(&self, call: Call<'_>) -> Result<Outcome, Outcome> {
        let provider = call.providers.ready.get(&self.provider).ok_or_else(|| {
            Outcome::Failed(format!("provider {:?} is not configured any more", self.provider))
        })?;
        let mut request = call
            .providers
            .client
            .request(self.method.into(), format!("{}{}", provider.url, self.path))
            .timeout(self.timeout.unwrap_or(provider.timeout))
            .header("idempotency-key", call.request_id)
            .header("x-request-id", call.request_id);
        if let Some(traceparent) = telemetry::trace::current_traceparent() {
            request = request.header(telemetry::trace::HEADER, traceparent);
        }
        if let Some(key) = &provider.key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = &self.body {
            let body = template::render(body, call.context).map_err(|e| Outcome::Failed(e.to_string()))?;
            request = request.json(&body);
        }
        let answer = request.send().await.map_err(|e| self.no_answer(&e))?;
        let status = answer.status();
        if !status.is_success() {
            return Err(self.not_ok(status, answer.headers()));
        }
        self.read(answer).await
    }

    async fn read(&self, mut answer: reqwest::Response) -> Result<Outcome, Outcome> {
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|e| self.no_answer(&e))? {
            if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(Outcome::Failed(format!(
                    "the answer of {} is larger than {MAX_ANSWER_BYTES} bytes",
                    self.provider
                )));
            }
            bytes.extend_from_slice(&chunk);
        }
        let Ok(output) = serde_json::from_slice::<Value>(&bytes) else {
            return Err(self.unknown("the answer is not JSON"));
        };
        if template::exceeds_depth(&output, template::MAX_DEPTH) {
            return Err(Outcome::Failed(format!(
                "the answer of {} is nested deeper than {} levels",
                self.provider,
                template::MAX_DEPTH
            )));
        }
        Ok(Outcome::Done(without_nul(output)))
    }

    fn no_answer(&self, error: &reqwest::Error) -> Outcome {
        if error.is_builder() {
            return Outcome::Failed(format!("{} cannot be called: {}", self.provider, self.path));
        }
        self.unknown(if error.is_timeout() {
            "no answer in time"
        } else if error.is_connect() {
            "no connection"
        } else {
            "the connection broke"
        })
    }

    fn not_ok(&self, status: StatusCode, headers: &HeaderMap) -> Outcome {
        let cause = format!("{} answered {}", self.provider, status.as_u16());
        match status {
            StatusCode::TOO_MANY_REQUESTS => Outcome::Again(Again {
                cause,
                ended: true,
                after: Some(retry_after(headers)),
            }),
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => Outcome::Again(Again {
                cause,
                ended: false,
                after: None,
            }),
            _ if status.is_server_error() => Outcome::Again(Again {
                cause,
                ended: true,
                after: None,
            }),
            _ => Outcome::Failed(cause),
        }
    }

    fn unknown(&self, what: &str) -> Outcome {
        Outcome::Again(Again {
            cause: format!("{}: {what}", self.provider),
            ended: false,
            after: None,
        })
    }
}

impl From<Verb> for Method {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Get => Self::GET,
            Verb::Post => Self::POST,
            Verb::Put => Self::PUT,
            Verb::Patch => Self::PATCH,
            Verb::Delete => Self::DELETE,
        }
    }
}

/// Reads `Retry-After`, as seconds or as a date (RFC 9110, section 10.2.3). At most an hour.
fn retry_after(headers: &HeaderMap) -> Duration {
    let asked = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| match text.trim().parse() {
            Ok(seconds) => Some(Duration::from_secs(seconds)),
            Err(_) => {
                let date = chrono::DateTime::parse_from_rfc2822(text.trim()).ok()?;
                let left = date.to_utc().signed_duration_since(chrono::Utc::now());
                Some(left.to_std().unwrap_or_default())
            }
        });
    asked.unwrap_or(DEFAULT_RETRY_AFTER).min(MAX_RETRY_AFTER)
}

/// Replaces NUL characters, which Postgres cannot keep in jsonb, by U+FFFD.
fn without_nul(value: Value) -> Value {
    let clean = |text: String| {
        if text.contains('\0') {
            text.replace('\0', "\u{fffd}")
        } else {
            text
        }
    };
    match value {
        Value::String(text) => Value::String(clean(text)),
        Value::Array(items) => Value::Array(items.into_iter().map(without_nul).collect()),
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(key, value)| (clean(key), without_nul(value)))
                .collect(),
        ),
        Value::Null | Value::Bool(_) | Value::Number(_) => value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn after(value: &str) -> Duration {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, value.parse().unwrap());
        retry_after(&headers)
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(after("7"), Duration::from_secs(7));
        assert_eq!(after("99999999"), MAX_RETRY_AFTER);
        assert_eq!(after("soon"), DEFAULT_RETRY_AFTER);
        assert_eq!(after("Fri, 31 Dec 1999 23:59:59 GMT"), Duration::ZERO);
        assert_eq!(after("Tue, 31 Dec 2999 23:59:59 GMT"), MAX_RETRY_AFTER);
        assert_eq!(retry_after(&HeaderMap::new()), DEFAULT_RETRY_AFTER);
    }

    #[test]
    fn what_postgres_cannot_keep_is_replaced() {
        let kept = without_nul(json!({ "a\0": ["x\0y", 1] }));
        assert_eq!(kept, json!({ "a\u{fffd}": ["x\u{fffd}y", 1] }));
    }

    #[test]
    fn wrong_providers_are_all_named() {
        let mut providers = BTreeMap::new();
        providers.insert("Bad Name".to_owned(), Provider::new("ftp://x"));
        providers.insert(
            "keyed".to_owned(),
            Provider {
                key_env: Some("NO_SUCH_KEY".to_owned()),
                timeout: Duration::ZERO,
                ..Provider::new("https://ai.example")
            },
        );
        let problems = Providers::build(&providers, |_| None).unwrap_err();
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let expected = [
            "providers.Bad Name: a provider is named by 1 to 64 of a-z, 0-9, _ and -",
            "providers.Bad Name: \"ftp://x\" is not an http or https URL",
            "providers.keyed: timeout must be above zero and at most 10 min",
            "providers.keyed: the environment variable NO_SUCH_KEY is not set",
        ];
        assert_eq!(problems, expected);
    }

    #[test]
    fn keys_are_not_shown() {
        let mut providers = BTreeMap::new();
        let keyed = Provider {
            key_env: Some("KEY".to_owned()),
            ..Provider::new("https://ai.example")
        };
        providers.insert("ai".to_owned(), keyed);
        let ready = Providers::build(&providers, |_| Some("s3cret".to_owned())).unwrap();
        assert!(!format!("{ready:?}").contains("s3cret"));
    }
}
