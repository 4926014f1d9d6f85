//! Loads configuration: defaults, then a TOML file, then well-known environment names, then `EVENKEEL_<SECTION>__<KEY>`.
//! The later wins.
//!
//! Defaults come from the type: write `#[serde(default, deny_unknown_fields)]` on every configuration struct, so that a
//! misspelt key is an error.

use std::path::{Path, PathBuf};

use figment::error::Kind;
use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use serde::de::DeserializeOwned;

/// Prefix of variables that set a key: `EVENKEEL_QUOTA__DATABASE__MAX=20` sets `quota.database.max`.
pub const PREFIX: &str = "EVENKEEL_";

/// Names people know, and the key each sets.
pub const WELL_KNOWN: [(&str, &str); 2] = [
    ("DATABASE_URL", "database.url"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.otlp_endpoint"),
];

/// Why the configuration cannot be used. The process ends with [`EXIT_CONFIG`](crate::exit::EXIT_CONFIG).
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file named does not exist.
    #[error("configuration file {} does not exist", .0.display())]
    NoFile(PathBuf),
    /// A key is unknown, has the wrong type or value, or the file is not TOML. One line for each problem, naming key
    /// and source.
    #[error("configuration is wrong:\n{0}")]
    Wrong(String),
}

/// Loads `T` from the file, if one is given, and this process's environment.
///
/// # Errors
/// [`ConfigError`] names the key and where its value came from.
pub fn load<T: DeserializeOwned>(file: Option<&Path>) -> Result<T, ConfigError> {
    // Names that are not UTF-8 cannot be ours.
    let vars = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    load_from(file, vars, &WELL_KNOWN)
}

/// Loads `T` as [`load`] does, from the variables given and with other well-known names. Empty variables count as unset.
///
/// # Errors
/// [`ConfigError`] names the key and where its value came from.
pub fn load_from<T: DeserializeOwned>(
    file: Option<&Path>,
    vars: impl IntoIterator<Item = (String, String)>,
    well_known: &[(&str, &str)],
) -> Result<T, ConfigError> {
    let mut figment = Figment::new();
    if let Some(path) = file {
        if !path.is_file() {
            return Err(ConfigError::NoFile(path.to_path_buf()));
        }
        figment = figment.merge(Toml::file_exact(path));
    }
    let (mut general, mut specific) = (Vec::new(), Vec::new());
    for (name, value) in vars.into_iter().filter(|(_, value)| !value.is_empty()) {
        let known = well_known.iter().find(|(known, _)| *known == name);
        let (key, list) = match (known, key_of(&name)) {
            (Some((_, key)), _) => ((*key).to_owned(), &mut general),
            (None, Some(key)) => (key, &mut specific),
            (None, None) => continue,
        };
        list.push(Variable {
            name,
            key,
            value,
            is_text: false,
        });
    }
    general.extend(specific);
    extract(&figment, general)
}

/// Reads the settings. A variable is read as TOML where that is what its key wants; digits of an id, whose key wants text,
/// are text.
fn extract<T: DeserializeOwned>(figment: &Figment, mut variables: Vec<Variable>) -> Result<T, ConfigError> {
    loop {
        let all = variables.iter().cloned().fold(figment.clone(), Figment::merge);
        let error = match all.extract() {
            Ok(settings) => return Ok(settings),
            Err(error) => error,
        };
        let mut changed = false;
        for problem in error.clone() {
            let wants_text = matches!(&problem.kind, Kind::InvalidType(_, wanted) if wanted == "a string");
            let key = problem.path.join(".");
            for variable in &mut variables {
                if wants_text && variable.key == key && !variable.is_text {
                    variable.is_text = true;
                    changed = true;
                }
            }
        }
        // Each turn makes one more of them text, so there is an end.
        if !changed {
            return Err(wrong(error));
        }
    }
}

/// Returns the key a variable sets, `None` if it is not of our form. `EVENKEEL_HOME` has no section and is no key.
fn key_of(name: &str) -> Option<String> {
    let rest = name.strip_prefix(PREFIX)?;
    rest.contains("__")
        .then(|| rest.to_lowercase().replace("__", "."))
}

fn wrong(errors: figment::Error) -> ConfigError {
    let lines: Vec<String> = errors.into_iter().map(|error| format!("  {error}")).collect();
    ConfigError::Wrong(lines.join("\n"))
}

/// One environment variable, so that an error can name it.
#[derive(Clone)]
struct Variable {
    name: String,
    key: String,
    value: String,
    /// Not to be read as TOML.
    is_text: bool,
}

impl Provider for Variable {
    fn metadata(&self) -> Metadata {
        Metadata::named(format!("environment variable {}", self.name)).interpolater(|_, keys| keys.join("."))
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let value = if self.is_text {
            Value::from(self.value.as_str())
        } else {
            let Ok(value) = self.value.parse::<Value>();
            value
        };
        let nested = figment::util::nest(&self.key, value);
        let dict = nested.into_dict().unwrap_or_default();
        Ok(Profile::Default.collect(dict))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Deserialize;

    use super::*;
    use crate::PoolConfig;

    #[test]
    fn digits_are_text_where_text_is_wanted_and_numbers_elsewhere() {
        #[derive(Debug, Default, PartialEq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Merchant {
            id: String,
            secret: String,
            limit: u32,
        }
        #[derive(Debug, Default, PartialEq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        struct Shop {
            merchant: Merchant,
        }
        let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let vars = [
            set("MERCHANT", "0012345"),
            set("EVENKEEL_MERCHANT__SECRET", "true"),
            set("EVENKEEL_MERCHANT__LIMIT", "7"),
        ];
        let shop: Shop = load_from(None, vars, &[("MERCHANT", "merchant.id")]).unwrap();
        let expected = Merchant {
            id: "0012345".to_owned(),
            secret: "true".to_owned(),
            limit: 7,
        };
        assert_eq!(shop.merchant, expected);
        let wrong = load_from::<Shop>(None, [set("EVENKEEL_MERCHANT__LIMIT", "many")], &[]).unwrap_err();
        assert!(wrong.to_string().contains("EVENKEEL_MERCHANT__LIMIT"), "{wrong}");
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Config {
        database: PoolConfig,
        quota: Quota,
    }

    #[derive(Debug, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct Quota {
        listen: String,
        page: u16,
    }

    impl Default for Quota {
        fn default() -> Self {
            Self {
                listen: "127.0.0.1:7001".to_owned(),
                page: 100,
            }
        }
    }

    fn vars(all: &[(&str, &str)]) -> Vec<(String, String)> {
        all.iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn load(toml: &str, env: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), toml).unwrap();
        load_from(Some(file.path()), vars(env), &WELL_KNOWN)
    }

    #[test]
    fn nothing_configured_gives_the_defaults() {
        let config: Config = load_from(None, [], &WELL_KNOWN).unwrap();
        assert_eq!((config.quota.page, config.database.max), (100, 100));
    }

    #[test]
    fn the_environment_wins_over_the_file_and_the_file_over_defaults() {
        let toml = "[quota]\npage = 7\nlisten = 'from file'\n[database]\nurl = 'file'\nidle = '5s'\n";
        let config = load(
            toml,
            &[
                ("EVENKEEL_QUOTA__PAGE", "9"),
                ("EVENKEEL_DATABASE__ACQUIRE_TIMEOUT", "250ms"),
                ("DATABASE_URL", "well known"),
                ("EVENKEEL_QUOTA__LISTEN", ""),
            ],
        )
        .unwrap();
        assert_eq!(config.quota.page, 9);
        assert_eq!(config.quota.listen, "from file");
        assert_eq!(config.database.url, "well known");
        assert_eq!(config.database.idle, Duration::from_secs(5));
        assert_eq!(config.database.acquire_timeout, Duration::from_millis(250));
    }

    #[test]
    fn a_specific_name_wins_over_a_well_known_one() {
        let env = [
            ("EVENKEEL_DATABASE__URL", "specific"),
            ("DATABASE_URL", "well known"),
        ];
        assert_eq!(load("", &env).unwrap().database.url, "specific");
    }

    #[test]
    fn an_error_names_the_key_and_where_it_came_from() {
        let text = load("", &[("EVENKEEL_QUOTA__PAGE", "many")])
            .unwrap_err()
            .to_string();
        assert!(
            text.contains("quota.page") && text.contains("EVENKEEL_QUOTA__PAGE"),
            "{text}"
        );
        let text = load("[quota]\npgae = 3\n", &[]).unwrap_err().to_string();
        assert!(text.contains("pgae") && text.contains("page"), "{text}");
        let text = load("", &[("EVENKEEL_QOTA__PAGE", "3")]).unwrap_err().to_string();
        assert!(text.contains("qota"), "{text}");
        let text = load("[database]\nidle = 'soon'\n", &[]).unwrap_err().to_string();
        assert!(text.contains("database.idle"), "{text}");
        assert!(load("not toml", &[]).is_err());
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = load_from::<Config>(Some(Path::new("/nonexistent.toml")), [], &WELL_KNOWN).unwrap_err();
        assert!(error.to_string().contains("/nonexistent.toml"));
    }

    #[test]
    fn variables_without_a_section_are_not_ours() {
        assert!(load("", &[("EVENKEEL_TEST_POSTGRES", "x"), ("HOME", "/")]).is_ok());
    }
}
