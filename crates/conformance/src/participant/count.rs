//! Observing effects: a number that the action changes and its compensation changes back.

use std::process::Stdio;
use std::time::Duration;

use prost_reflect::{DynamicMessage, MethodDescriptor};
use serde_json::Value;
use tokio::process::Command;

use super::wire::{self, Line};

/// Where the number is read. It may be anything that the action changes by the same amount each time: rows of a table, pieces
/// in stock, a balance.
#[derive(Debug, Clone)]
pub enum Count {
    /// A shell command whose standard output ends in the number.
    Command(String),
    /// A field in the reply of a method.
    Method(Box<CountMethod>),
}

/// A method whose reply holds the number.
#[derive(Clone)]
pub struct CountMethod {
    /// What is called.
    pub method: MethodDescriptor,
    /// With what.
    pub request: DynamicMessage,
    /// Where the number is in the reply's JSON: names and positions, joined by dots.
    pub path: String,
}

// A descriptor shows all that it refers to.
impl std::fmt::Debug for CountMethod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CountMethod")
            .field("method", &self.method.full_name())
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

impl Count {
    /// Reads the number.
    ///
    /// # Errors
    /// In words, if there is none within `patience`.
    pub(super) async fn read(&self, line: &Line, patience: Duration) -> Result<i64, String> {
        let reading = async {
            match self {
                Self::Command(command) => of_command(command).await,
                Self::Method(counted) => counted.read(line, patience).await,
            }
        };
        tokio::time::timeout(patience, reading)
            .await
            .unwrap_or_else(|_| Err(format!("the count was not there within {patience:?}")))
    }
}

async fn of_command(command: &str) -> Result<i64, String> {
    let output = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("the count's command does not run: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = text
        .split_whitespace()
        .next_back()
        .and_then(|word| word.parse().ok());
    match number {
        Some(number) if output.status.success() => Ok(number),
        Some(_) | None => Err(format!(
            "the count's command ended with {} and printed {:?}, then {:?}",
            output.status,
            text.trim(),
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

impl CountMethod {
    async fn read(&self, line: &Line, patience: Duration) -> Result<i64, String> {
        let answer = wire::plain(line, &self.method, self.request.clone(), patience).await;
        let reply = answer.map_err(|status| format!("{} answered {status}", self.method.full_name()))?;
        let json = saga_definition::encode_json(&reply).map_err(|error| error.to_string())?;
        let json: Value = serde_json::from_str(&json).map_err(|error| error.to_string())?;
        number_at(&json, &self.path).ok_or_else(|| format!("{json} has no number at {}", self.path))
    }
}

/// 64-bit numbers are text in proto-JSON; a number that is 0 may be left out.
fn number_at(json: &Value, path: &str) -> Option<i64> {
    let mut value = json;
    for name in path.split('.') {
        value = match value {
            Value::Array(items) => items.get(name.parse::<usize>().ok()?)?,
            Value::Object(fields) => match fields.get(name) {
                Some(value) => value,
                None => return Some(0),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
    }
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_is_found_where_its_path_says() {
        let reply = json!({ "account": { "balances": [{ "left": "17" }, { "left": 3 }] } });
        assert_eq!(number_at(&reply, "account.balances.0.left"), Some(17));
        assert_eq!(number_at(&reply, "account.balances.1.left"), Some(3));
        assert_eq!(number_at(&reply, "account.balances.2.left"), None);
        assert_eq!(number_at(&reply, "account.rows"), Some(0), "0 is left out");
        assert_eq!(number_at(&reply, "account.balances"), None);
    }

    #[tokio::test]
    async fn a_command_that_fails_is_no_count() {
        assert_eq!(of_command("echo there are 12").await, Ok(12));
        assert!(
            of_command("echo 12; exit 3")
                .await
                .unwrap_err()
                .contains("exit status: 3")
        );
        assert!(of_command("echo none").await.unwrap_err().contains("\"none\""));
    }
}
