//! A step that waits. The instant of its end is durable.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use humantime_serde::re::humantime;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Call, Handler, Outcome};
use crate::pipeline::spec::Scope;
use crate::pipeline::template::{self, Context};

/// Longest delay.
const MAX_DELAY: Duration = Duration::from_secs(24 * 3600);

/// Waits. Its output is `{}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delay {
    /// How long: a duration such as `2s` or `1m 30s`, or a `{{path}}` to one, or to a number of seconds. Above zero,
    /// at most 24 h.
    #[serde(rename = "for")]
    pub span: Span,
}

/// A duration, or where to find one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Span {
    /// This long.
    Fixed(Duration),
    /// As long as the value at this template says.
    Path(String),
}

impl TryFrom<String> for Span {
    type Error = humantime::DurationError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.contains("{{") {
            return Ok(Self::Path(text));
        }
        humantime::parse_duration(&text).map(Self::Fixed)
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        match span {
            Span::Fixed(span) => humantime::format_duration(span).to_string(),
            Span::Path(path) => path,
        }
    }
}

impl Delay {
    fn length(&self, context: &Context) -> Result<Duration, String> {
        let length = match &self.span {
            Span::Fixed(span) => *span,
            Span::Path(path) => {
                let value =
                    template::render(&Value::String(path.clone()), context).map_err(|e| e.to_string())?;
                read(&value).ok_or_else(|| format!("{path} is not a duration"))?
            }
        };
        if in_range(length) {
            Ok(length)
        } else {
            Err(RANGE.to_owned())
        }
    }
}

const RANGE: &str = "for must be above zero and at most 24 h";

fn in_range(length: Duration) -> bool {
    !length.is_zero() && length <= MAX_DELAY
}

fn read(value: &Value) -> Option<Duration> {
    match value {
        Value::Number(seconds) => Duration::try_from_secs_f64(seconds.as_f64()?).ok(),
        Value::String(text) => humantime::parse_duration(text).ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

impl Handler for Delay {
    fn problems(&self, scope: &Scope<'_>) -> Vec<String> {
        match &self.span {
            Span::Fixed(span) if !in_range(*span) => vec![RANGE.to_owned()],
            Span::Fixed(_) => Vec::new(),
            Span::Path(path) => scope.template_problems("for", &Value::String(path.clone())),
        }
    }

    fn attempt<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Outcome> {
        let outcome = if call.waited {
            Outcome::Done(json!({}))
        } else {
            match self.length(call.context) {
                Ok(length) => Outcome::Wait(length),
                Err(problem) => Outcome::Failed(problem),
            }
        };
        std::future::ready(outcome).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(span: &str, input: Value) -> Result<Duration, String> {
        let delay: Delay = serde_json::from_value(json!({ "for": span })).unwrap();
        delay.length(&Context::new("t", input))
    }

    #[test]
    fn a_delay_is_fixed_or_read_from_the_input() {
        assert_eq!(length("1m 30s", json!({})), Ok(Duration::from_secs(90)));
        assert_eq!(
            length("{{input.wait}}", json!({ "wait": "2s" })),
            Ok(Duration::from_secs(2))
        );
        assert_eq!(
            length("{{input.wait}}", json!({ "wait": 0.5 })),
            Ok(Duration::from_millis(500))
        );
    }

    #[test]
    fn a_delay_that_is_none_fails_with_its_reason() {
        let message = |input| length("{{input.wait}}", input).unwrap_err();
        assert_eq!(message(json!({})), "nothing at input.wait");
        assert_eq!(
            message(json!({ "wait": true })),
            "{{input.wait}} is not a duration"
        );
        assert_eq!(message(json!({ "wait": -1 })), "{{input.wait}} is not a duration");
        assert_eq!(message(json!({ "wait": 1e18 })), RANGE);
        assert_eq!(message(json!({ "wait": 0 })), RANGE);
    }
}
