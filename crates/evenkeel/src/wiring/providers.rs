//! The payment providers: their settings, and the clients that are made from them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kms::Kms;
use pay::wechat::{ApiV3Key, TransferScene};
use pay::{Clock, HttpClient, PrivateKey, Provider, PublicKey, Timeouts};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use zeroize::Zeroizing;

use super::sealed_file;
use crate::exit::Failure;

/// Settings of all providers. One without an `app_id` is not offered.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// WeChat Pay, API v3.
    pub(crate) wechat: WeChat,
    /// Alipay, RSA2.
    pub(crate) alipay: Alipay,
    /// What becomes of our keys that lie here or in a file in the clear.
    pub(crate) clear_keys: ClearKeys,
}

/// What becomes of a key that is not sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ClearKeys {
    /// It is used.
    Allow,
    /// It is used, with a warning in the log.
    #[default]
    Warn,
    /// The service does not start.
    Refuse,
}

/// A merchant's settings at WeChat Pay.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct WeChat {
    /// App id.
    pub(crate) app_id: String,
    /// Merchant id (`mchid`).
    pub(crate) merchant_id: String,
    /// Serial number of the merchant's certificate.
    pub(crate) serial: String,
    /// File with the merchant's private key, PEM.
    pub(crate) private_key_path: PathBuf,
    /// The APIv3 key, 32 characters.
    pub(crate) api_v3_key: SecretString,
    /// File with the APIv3 key, in place of `api_v3_key`.
    pub(crate) api_v3_key_path: PathBuf,
    /// Id of WeChat's public key, `PUB_KEY_ID_…`; empty: platform certificates are fetched.
    pub(crate) public_key_id: String,
    /// File with WeChat's public key, PEM.
    pub(crate) public_key_path: PathBuf,
    /// `transfer_scene_id` of withdrawals; empty: there are none.
    pub(crate) transfer_scene: String,
    /// What is reported for the scene: pairs of type and content.
    pub(crate) transfer_reports: Vec<(String, String)>,
    /// Base URL.
    pub(crate) url: String,
}

/// A merchant's settings at Alipay.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Alipay {
    /// App id.
    pub(crate) app_id: String,
    /// The merchant's user id (PID), `2088…`.
    pub(crate) merchant_id: String,
    /// File with the app's private key: PEM, or base64 as Alipay's tools write it.
    pub(crate) private_key_path: PathBuf,
    /// Key mode: file with Alipay's public key.
    pub(crate) public_key_path: PathBuf,
    /// Certificate mode, which withdrawals need: files with the app's certificate, Alipay's, and the roots.
    pub(crate) app_certificate_path: PathBuf,
    pub(crate) alipay_certificate_path: PathBuf,
    pub(crate) roots_path: PathBuf,
    /// URL of the gateway.
    pub(crate) url: String,
}

impl Default for WeChat {
    fn default() -> Self {
        Self {
            app_id: String::new(),
            merchant_id: String::new(),
            serial: String::new(),
            private_key_path: PathBuf::new(),
            api_v3_key: SecretString::default(),
            api_v3_key_path: PathBuf::new(),
            public_key_id: String::new(),
            public_key_path: PathBuf::new(),
            transfer_scene: String::new(),
            transfer_reports: Vec::new(),
            url: pay::wechat::URL.to_owned(),
        }
    }
}

impl Default for Alipay {
    fn default() -> Self {
        Self {
            app_id: String::new(),
            merchant_id: String::new(),
            private_key_path: PathBuf::new(),
            public_key_path: PathBuf::new(),
            app_certificate_path: PathBuf::new(),
            alipay_certificate_path: PathBuf::new(),
            roots_path: PathBuf::new(),
            url: pay::alipay::URL.to_owned(),
        }
    }
}

impl fmt::Debug for WeChat {
    /// Without the APIv3 key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeChat")
            .field("app_id", &self.app_id)
            .field("merchant_id", &self.merchant_id)
            .finish_non_exhaustive()
    }
}

/// Makes the clients of the providers that are configured. Keys that are sealed are opened.
///
/// # Errors
/// A setting or a file of one cannot be used; the message names it.
pub(crate) async fn clients(config: &Config, kms: &Kms) -> Result<Vec<Arc<dyn Provider>>, Failure> {
    let http = HttpClient::new(Timeouts::default()).map_err(|error| {
        Failure::config("no HTTP client for payment providers can be made").because(&error)
    })?;
    let secrets = Secrets {
        kms,
        clear: config.clear_keys,
    };
    let mut clients: Vec<Arc<dyn Provider>> = Vec::new();
    if !config.wechat.app_id.is_empty() {
        let settings = wechat(&config.wechat, &secrets).await?;
        let made = pay::wechat::WeChatPay::new(settings, http.clone(), Clock::system());
        clients.push(Arc::new(made.map_err(|error| wrong("wechat", &error))?));
    }
    if !config.alipay.app_id.is_empty() {
        let settings = alipay(&config.alipay, &secrets).await?;
        let made = pay::alipay::Alipay::new(settings, http, Clock::system());
        clients.push(Arc::new(made.map_err(|error| wrong("alipay", &error))?));
    }
    Ok(clients)
}

async fn wechat(config: &WeChat, secrets: &Secrets<'_>) -> Result<pay::wechat::Config, Failure> {
    let trust = if config.public_key_id.is_empty() {
        pay::wechat::Trust::Certificates
    } else {
        pay::wechat::Trust::PublicKey {
            id: config.public_key_id.clone(),
            key: public_key("wechat.public_key_path", &config.public_key_path)?,
        }
    };
    let scene = (!config.transfer_scene.is_empty()).then(|| TransferScene {
        id: config.transfer_scene.clone(),
        reports: config.transfer_reports.clone(),
    });
    let api_v3_key = if config.api_v3_key_path.as_os_str().is_empty() {
        secrets.clear("wechat.api_v3_key")?;
        ApiV3Key::new(config.api_v3_key.expose_secret().as_bytes())
            .map_err(|error| wrong("wechat.api_v3_key", &error))?
    } else {
        let key = "wechat.api_v3_key_path";
        let text = secrets.read(key, &config.api_v3_key_path).await?;
        ApiV3Key::new(text.trim_ascii()).map_err(|error| unusable(key, &config.api_v3_key_path, &error))?
    };
    Ok(pay::wechat::Config {
        app_id: config.app_id.clone(),
        merchant_id: config.merchant_id.clone(),
        serial: config.serial.clone(),
        key: secrets
            .private_key("wechat.private_key_path", &config.private_key_path)
            .await?,
        api_v3_key,
        trust,
        scene,
        url: config.url.clone(),
    })
}

async fn alipay(config: &Alipay, secrets: &Secrets<'_>) -> Result<pay::alipay::Config, Failure> {
    let trust = if config.app_certificate_path.as_os_str().is_empty() {
        pay::alipay::Trust::PublicKey(public_key("alipay.public_key_path", &config.public_key_path)?)
    } else {
        let read =
            |key: &'static str, path: &Path| std::fs::read(path).map_err(|error| unusable(key, path, &error));
        let app = read("alipay.app_certificate_path", &config.app_certificate_path)?;
        let theirs = read("alipay.alipay_certificate_path", &config.alipay_certificate_path)?;
        let roots = read("alipay.roots_path", &config.roots_path)?;
        pay::alipay::Trust::Certificates(
            pay::alipay::Certificates::from_pem(&app, &theirs, &roots)
                .map_err(|error| wrong("alipay: the certificates", &error))?,
        )
    };
    Ok(pay::alipay::Config {
        app_id: config.app_id.clone(),
        merchant_id: config.merchant_id.clone(),
        key: secrets
            .private_key("alipay.private_key_path", &config.private_key_path)
            .await?,
        trust,
        url: config.url.clone(),
    })
}

/// Reads what nobody but us may know.
struct Secrets<'a> {
    kms: &'a Kms,
    clear: ClearKeys,
}

impl Secrets<'_> {
    async fn private_key(&self, key: &'static str, path: &Path) -> Result<PrivateKey, Failure> {
        let pem = self.read(key, path).await?;
        PrivateKey::from_pem(&pem).map_err(|error| unusable(key, path, &error))
    }

    /// Reads a file, and opens it if it is sealed.
    async fn read(&self, key: &'static str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
        let content = std::fs::read(path).map(Zeroizing::new);
        let content = content.map_err(|error| unusable(key, path, &error))?;
        if sealed_file::is_sealed(&content) {
            let opened = sealed_file::open(self.kms, path, &content).await;
            return opened.map_err(|error| unusable(key, path, &error));
        }
        self.clear(key)?;
        Ok(content)
    }

    /// Says what becomes of a key in the clear.
    fn clear(&self, key: &'static str) -> Result<(), Failure> {
        let next = "seal it in a file: evenkeel kms seal FILE --out OTHER";
        match self.clear {
            ClearKeys::Allow => {}
            ClearKeys::Warn => {
                tracing::warn!(
                    setting = format!("providers.{key}"),
                    next,
                    "a key at a provider lies in the clear"
                );
            }
            ClearKeys::Refuse => {
                return Err(Failure::config(format!(
                    "providers.{key} is in the clear, and providers.clear_keys refuses that"
                ))
                .next(next));
            }
        }
        Ok(())
    }
}

fn public_key(key: &'static str, path: &Path) -> Result<PublicKey, Failure> {
    PublicKey::from_file(path).map_err(|error| unusable(key, path, &error))
}

fn unusable(key: &str, path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::config(format!("providers.{key}: {} cannot be used", path.display())).because(error)
}

fn wrong(what: &str, error: &dyn std::error::Error) -> Failure {
    Failure::config(format!("providers.{what} cannot be used")).because(error)
}

#[cfg(test)]
mod tests {
    use kms::{LocalKeys, Provider::Local};

    use super::*;

    #[tokio::test]
    async fn a_key_in_the_clear_is_used_or_refused_and_a_sealed_one_is_opened() {
        let dir = test_support::Scratch::new().unwrap();
        let keys = dir.path().join("kms.json");
        kms::create_file(&keys).unwrap();
        let kms = Kms::new(Local(LocalKeys::read(&keys).unwrap()), Vec::new());
        let clear = dir.path().join("clear.pem");
        std::fs::write(&clear, "planted").unwrap();
        let sealed = dir.path().join("sealed.pem");
        std::fs::write(
            &sealed,
            sealed_file::seal(&kms, &sealed, b"planted").await.unwrap(),
        )
        .unwrap();
        for (clear_keys, path, is_read) in [
            (ClearKeys::Allow, &clear, true),
            (ClearKeys::Warn, &clear, true),
            (ClearKeys::Refuse, &clear, false),
            (ClearKeys::Refuse, &sealed, true),
        ] {
            let secrets = Secrets {
                kms: &kms,
                clear: clear_keys,
            };
            let read = secrets.read("wechat.private_key_path", path).await;
            assert_eq!(read.is_ok(), is_read, "{clear_keys:?}");
            match read {
                Ok(text) => assert_eq!(text.as_slice(), b"planted"),
                Err(failure) => {
                    let text = failure.to_string();
                    assert!(
                        text.contains("wechat.private_key_path") && text.contains("kms seal"),
                        "{text}"
                    );
                    assert!(!text.contains("planted"), "{text}");
                }
            }
        }
        // Another name: it is not the file that was sealed.
        let renamed = dir.path().join("other.pem");
        std::fs::rename(&sealed, &renamed).unwrap();
        let secrets = Secrets {
            kms: &kms,
            clear: ClearKeys::Allow,
        };
        let refused = secrets
            .read("wechat.private_key_path", &renamed)
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("belongs elsewhere"), "{refused}");
    }

    #[test]
    fn settings_are_shown_without_the_key() {
        let config: Config =
            serde_json::from_str(r#"{"wechat": {"api_v3_key": "planted"}, "clear_keys": "refuse"}"#).unwrap();
        assert_eq!(config.clear_keys, ClearKeys::Refuse);
        assert!(!format!("{config:?}").contains("planted"));
    }
}
