//! Settings.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tencent_cloud::{Account, Client, Endpoint};

use crate::keyring::Kms;
use crate::local::{FileError, LocalKeys};
use crate::provider::Provider;
use crate::tencent::{Patience, Tencent};

/// How long one call of the key service may take. An operation may repeat it: [`Patience`].
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// Where key-encryption keys come from. If both sections are filled, `provider` seals, and what the other has sealed still
/// opens: so one moves from the one to the other.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Who seals; absent: the one that is configured.
    pub provider: Option<Choice>,
    /// A key file.
    pub local: LocalConfig,
    /// Tencent Cloud's key management service.
    pub tencent: TencentConfig,
}

/// Who seals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Choice {
    /// A key file.
    Local,
    /// Tencent Cloud's key management service.
    Tencent,
}

/// A key file.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalConfig {
    /// The file, made by `evenkeel keys kms-file`.
    pub file: Option<PathBuf>,
}

/// Tencent Cloud's key management service. `Debug` does not show the key.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TencentConfig {
    /// Region (`KMS_REGION`).
    pub region: String,
    /// Id of the API key (`KMS_SECRET_ID`).
    pub secret_id: String,
    /// The API key (`KMS_SECRET_KEY`).
    #[serde(deserialize_with = "text")]
    pub secret_key: SecretString,
    /// Id of the master key (`KMS_KEY_ID`).
    pub key_id: String,
    /// Base URL of the API, without a path.
    pub url: String,
}

impl Default for TencentConfig {
    fn default() -> Self {
        Self {
            region: "ap-guangzhou".to_owned(),
            secret_id: String::new(),
            secret_key: SecretString::default(),
            key_id: String::new(),
            url: "https://kms.tencentcloudapi.com".to_owned(),
        }
    }
}

/// Reads a secret. What is no text is refused here, because the deserializer's own error would show it.
fn text<'de, D: Deserializer<'de>>(from: D) -> Result<SecretString, D::Error> {
    match Value::deserialize(from)? {
        Value::String(text) => Ok(text.into()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Err(D::Error::custom("a secret that is not text: put it in quotes"))
        }
    }
}

/// A wrong setting.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A setting is absent.
    #[error("{0} is not set")]
    Absent(&'static str),
    /// The id of the master key is none.
    #[error("kms.tencent.key_id is not 1 to 64 printable ASCII characters")]
    KeyId,
    /// Both are configured, and nobody said which one seals.
    #[error("kms.provider is not set: say local or tencent, since both are configured")]
    Choice,
    /// The key file cannot be used.
    #[error("kms.local.file")]
    File(#[source] FileError),
    /// No client can be made.
    #[error("kms.tencent")]
    Client(#[source] tencent_cloud::ConfigError),
}

impl Config {
    pub(crate) fn open(&self) -> Result<Option<Kms>, ConfigError> {
        let local = match &self.local.file {
            Some(file) => Some(LocalKeys::read(file).map_err(ConfigError::File)?),
            None => None,
        };
        let local = local.map(Provider::Local);
        let tencent = self.tencent.open()?.map(Provider::Tencent);
        let made = match (self.provider, local, tencent) {
            (None, None, None) => return Ok(None),
            (None, Some(_), Some(_)) => return Err(ConfigError::Choice),
            (Some(Choice::Local), None, _) => return Err(ConfigError::Absent("kms.local.file")),
            (Some(Choice::Tencent), _, None) => {
                return Err(ConfigError::Absent("kms.tencent.key_id (KMS_KEY_ID)"));
            }
            (None, Some(only), None) | (None, None, Some(only)) => Kms::new(only, Vec::new()),
            (Some(Choice::Local), Some(seals), other) | (Some(Choice::Tencent), other, Some(seals)) => {
                Kms::new(seals, other.into_iter().collect())
            }
        };
        Ok(Some(made))
    }
}

impl TencentConfig {
    fn open(&self) -> Result<Option<Tencent>, ConfigError> {
        let named = [
            ("kms.tencent.key_id (KMS_KEY_ID)", self.key_id.as_str()),
            ("kms.tencent.secret_id (KMS_SECRET_ID)", &self.secret_id),
            (
                "kms.tencent.secret_key (KMS_SECRET_KEY)",
                self.secret_key.expose_secret(),
            ),
        ];
        if named.iter().all(|(_, value)| value.is_empty()) {
            return Ok(None);
        }
        if let Some((name, _)) = named.iter().find(|(_, value)| value.is_empty()) {
            return Err(ConfigError::Absent(name));
        }
        let endpoint = Endpoint {
            service: "kms",
            version: "2019-01-18",
            url: self.url.clone(),
            region: self.region.clone(),
            timeout: CALL_TIMEOUT,
        };
        let account = Account {
            secret_id: self.secret_id.clone(),
            secret_key: self.secret_key.clone(),
        };
        let client = Client::new(endpoint, account).map_err(ConfigError::Client)?;
        Tencent::new(client, self.key_id.clone(), Patience::default()).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tencent() -> TencentConfig {
        TencentConfig {
            secret_id: "id".to_owned(),
            secret_key: "planted".into(),
            key_id: "cmk".to_owned(),
            ..TencentConfig::default()
        }
    }

    #[test]
    fn settings_that_are_incomplete_or_wrong_are_named() {
        assert!(Config::default().open().unwrap().is_none());
        let with = |tencent: TencentConfig| Config {
            tencent,
            ..Config::default()
        };
        let half = with(TencentConfig {
            key_id: String::new(),
            ..tencent()
        });
        let no_key = with(TencentConfig {
            secret_key: SecretString::default(),
            ..tencent()
        });
        let odd = with(TencentConfig {
            key_id: "c m k".to_owned(),
            ..tencent()
        });
        let path = with(TencentConfig {
            url: "https://host/path".to_owned(),
            ..tencent()
        });
        let chosen = |provider| Config {
            provider: Some(provider),
            ..Config::default()
        };
        for (config, named) in [
            (half, "KMS_KEY_ID"),
            (no_key, "KMS_SECRET_KEY"),
            (odd, "key_id"),
            (path, "kms.tencent"),
            (chosen(Choice::Local), "kms.local.file"),
            (chosen(Choice::Tencent), "KMS_KEY_ID"),
        ] {
            let error = config.open().unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn a_secret_that_is_no_text_is_refused_and_not_shown() {
        for odd in ["123456789", "true", "[123456789]"] {
            let json = format!(r#"{{"tencent": {{"secret_key": {odd}}}}}"#);
            let error = serde_json::from_str::<Config>(&json).unwrap_err().to_string();
            assert!(error.contains("quotes") && !error.contains(odd), "{error}");
        }
        let json = r#"{"tencent": {"secret_key": "123"}}"#;
        let config: Config = serde_json::from_str(json).unwrap();
        assert_eq!(config.tencent.secret_key.expose_secret(), "123");
    }

    #[tokio::test]
    async fn who_seals_is_the_one_that_is_configured_or_chosen() {
        let dir = test_support::Scratch::new().unwrap();
        let file = dir.path().join("kms.json");
        crate::create_file(&file).unwrap();
        let mut config = Config {
            tencent: tencent(),
            ..Config::default()
        };
        let opened = |config: &Config| config.open().map(|kms| kms.unwrap().current().to_string());
        assert_eq!(opened(&config).unwrap(), "tencent:cmk");
        config.local.file = Some(file);
        assert!(matches!(config.open(), Err(ConfigError::Choice)));
        config.provider = Some(Choice::Local);
        assert!(opened(&config).unwrap().starts_with("local:"));
        config.provider = Some(Choice::Tencent);
        assert_eq!(opened(&config).unwrap(), "tencent:cmk");
    }
}
