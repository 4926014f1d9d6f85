//! The least that must be covered.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};

/// Percentages by the folder of a crate. A crate without one is a tool of tests.
#[derive(Debug)]
pub struct Floors {
    by_home: BTreeMap<String, Option<f64>>,
    others: f64,
}

impl Floors {
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Self::parse(&text)
    }

    /// Reads `folder percentage` on each line, `*` for all other crates, `-` for none.
    ///
    /// # Errors
    /// If a line is anything else, or a percentage is none, or there is none for the others.
    pub fn parse(text: &str) -> Result<Self> {
        let mut by_home = BTreeMap::new();
        let mut others = None;
        for line in text.lines().map(str::trim) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["*", percentage] => others = Some(percent(percentage)?),
                [home, "-"] => {
                    by_home.insert((*home).to_owned(), None);
                }
                [home, percentage] => {
                    by_home.insert((*home).to_owned(), Some(percent(percentage)?));
                }
                _ => bail!("expected a folder and a percentage: {line}"),
            }
        }
        let others = others.context("there is no floor for the others: * 70")?;
        Ok(Self { by_home, others })
    }

    pub fn of(&self, home: &str) -> Option<f64> {
        self.by_home.get(home).copied().unwrap_or(Some(self.others))
    }

    /// The crates that have a line of their own.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.by_home.keys().map(String::as_str)
    }
}

fn percent(text: &str) -> Result<f64> {
    let percent: f64 = text.parse().with_context(|| text.to_owned())?;
    ensure!((0.0..=100.0).contains(&percent), "{text} is no percentage");
    Ok(percent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floors_are_read_by_folder() {
        let floors = Floors::parse("# why\ncrates/a 85\n* 70\ncrates/b -\n").unwrap();
        assert_eq!(floors.of("crates/a"), Some(85.0));
        assert_eq!(floors.of("crates/b"), None);
        assert_eq!(floors.of("crates/c"), Some(70.0));
    }

    #[test]
    fn a_floor_that_asks_nothing_is_refused() {
        for text in [
            "crates/a much\n* 70",
            "crates/a 850\n* 70",
            "crates/a NaN\n* 70",
            "crates/a 85",
        ] {
            assert!(Floors::parse(text).is_err(), "{text}");
        }
    }
}
