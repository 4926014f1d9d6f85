//! What a double says when it runs.

use std::path::{Path, PathBuf};

use ::doubles::kept;
use serde_json::{Map, Value, json};

use super::keys;
use crate::exit::Failure;
use crate::output;

/// A double that runs, and what a service needs to use it.
#[derive(Debug)]
pub(super) struct Started {
    role: &'static str,
    title: &'static str,
    url: String,
    keys_dir: Option<PathBuf>,
    variables: Vec<(&'static str, String)>,
    facts: Vec<(&'static str, String)>,
}

impl Started {
    pub(super) fn new(role: &'static str, title: &'static str, url: String) -> Self {
        Self {
            role,
            title,
            url,
            keys_dir: None,
            variables: Vec::new(),
            facts: Vec::new(),
        }
    }

    /// Adds the variables of a service, and writes them to `<role>.env`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn with_variables(
        mut self,
        dir: &Path,
        variables: Vec<(&'static str, String)>,
    ) -> Result<Self, Failure> {
        self.variables = variables;
        let file = dir.join(format!("{}.env", self.role));
        kept::write(&file, self.exports("").as_bytes()).map_err(|error| keys::unusable(dir, &error))?;
        self.keys_dir = Some(dir.to_path_buf());
        Ok(self)
    }

    /// Adds something to know.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.facts.push((name, value.into()));
        self
    }

    /// Prints it.
    ///
    /// # Errors
    /// As [`output::emit`].
    pub(super) fn tell(&self, as_json: bool) -> Result<(), Failure> {
        output::emit(&if as_json { self.json() } else { self.text() })
    }

    fn exports(&self, indent: &str) -> String {
        let lines = self.variables.iter();
        lines
            .map(|(name, value)| format!("{indent}export {name}={}\n", quoted(value)))
            .collect()
    }

    fn text(&self) -> String {
        let mut text = format!("{} double on {}\n", self.title, self.url);
        for (name, value) in &self.facts {
            text.push_str(&format!("  {name}: {value}\n"));
        }
        if let Some(dir) = &self.keys_dir {
            let file = dir.join(format!("{}.env", self.role));
            text.push_str(&format!(
                "\nA service uses it with these, which are in {} as well:\n{}",
                file.display(),
                self.exports("  ")
            ));
        }
        text
    }

    fn json(&self) -> String {
        let mut line = Map::new();
        line.insert("role".to_owned(), self.role.into());
        line.insert("url".to_owned(), self.url.clone().into());
        for (name, value) in &self.facts {
            line.insert((*name).to_owned(), value.clone().into());
        }
        if let Some(dir) = &self.keys_dir {
            line.insert("keysDir".to_owned(), dir.display().to_string().into());
            let variables = self.variables.iter();
            let variables = variables.map(|(name, value)| ((*name).to_owned(), json!(value)));
            line.insert("environment".to_owned(), Value::Object(variables.collect()));
        }
        format!("{}\n", Value::Object(line))
    }
}

/// Quotes a value for a shell, where it needs that.
fn quoted(value: &str) -> String {
    let plain = !value.is_empty()
        && value
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-./:@".contains(&byte));
    if plain {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_values_that_were_meant() {
        assert_eq!(quoted("http://127.0.0.1:7131"), "http://127.0.0.1:7131");
        assert_eq!(quoted("/my keys/it's.pem"), r"'/my keys/it'\''s.pem'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn people_and_machines_are_told_the_same() {
        let scratch = test_support::Scratch::new().unwrap();
        let started = Started::new("sms", "SMS", "http://h:1".to_owned())
            .with_variables(scratch.path(), vec![("A_KEY", "a b".to_owned())])
            .unwrap()
            .with("broker", "postgres");
        let text = started.text();
        assert!(text.starts_with("SMS double on http://h:1\n"), "{text}");
        assert!(text.contains("  export A_KEY='a b'\n"), "{text}");
        let written = std::fs::read_to_string(scratch.path().join("sms.env")).unwrap();
        assert_eq!(written, "export A_KEY='a b'\n");
        let line = started.json();
        assert_eq!(line.lines().count(), 1);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["environment"]["A_KEY"], "a b");
        assert_eq!(
            (&value["role"], &value["broker"]),
            (&json!("sms"), &json!("postgres"))
        );
    }
}
