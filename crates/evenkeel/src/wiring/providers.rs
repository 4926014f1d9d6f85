//! The payment providers: their settings, and the clients that are made from them.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pay::wechat::{ApiV3Key, TransferScene};
use pay::{Clock, HttpClient, PrivateKey, Provider, PublicKey, Timeouts};
use serde::Deserialize;

use crate::exit::Failure;

/// Settings of all providers. One without an `app_id` is not offered.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// WeChat Pay, API v3.
    pub(crate) wechat: WeChat,
    /// Alipay, RSA2.
    pub(crate) alipay: Alipay,
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
    pub(crate) api_v3_key: String,
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
            api_v3_key: String::new(),
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

/// Makes the clients of the providers that are configured.
///
/// # Errors
/// A setting or a file of one cannot be used; the message names it.
pub(crate) fn clients(config: &Config) -> Result<Vec<Arc<dyn Provider>>, Failure> {
    let http = HttpClient::new(Timeouts::default()).map_err(|error| {
        Failure::config("no HTTP client for payment providers can be made").because(&error)
    })?;
    let mut clients: Vec<Arc<dyn Provider>> = Vec::new();
    if !config.wechat.app_id.is_empty() {
        let made = pay::wechat::WeChatPay::new(wechat(&config.wechat)?, http.clone(), Clock::system());
        clients.push(Arc::new(made.map_err(|error| wrong("wechat", &error))?));
    }
    if !config.alipay.app_id.is_empty() {
        let made = pay::alipay::Alipay::new(alipay(&config.alipay)?, http, Clock::system());
        clients.push(Arc::new(made.map_err(|error| wrong("alipay", &error))?));
    }
    Ok(clients)
}

fn wechat(config: &WeChat) -> Result<pay::wechat::Config, Failure> {
    let trust = if config.public_key_id.is_empty() {
        pay::wechat::Trust::Certificates
    } else {
        pay::wechat::Trust::PublicKey {
            id: config.public_key_id.clone(),
            key: file(
                "wechat.public_key_path",
                &config.public_key_path,
                PublicKey::from_file,
            )?,
        }
    };
    let scene = (!config.transfer_scene.is_empty()).then(|| TransferScene {
        id: config.transfer_scene.clone(),
        reports: config.transfer_reports.clone(),
    });
    Ok(pay::wechat::Config {
        app_id: config.app_id.clone(),
        merchant_id: config.merchant_id.clone(),
        serial: config.serial.clone(),
        key: file(
            "wechat.private_key_path",
            &config.private_key_path,
            PrivateKey::from_file,
        )?,
        api_v3_key: ApiV3Key::new(config.api_v3_key.as_bytes())
            .map_err(|error| wrong("wechat.api_v3_key", &error))?,
        trust,
        scene,
        url: config.url.clone(),
    })
}

fn alipay(config: &Alipay) -> Result<pay::alipay::Config, Failure> {
    let trust = if config.app_certificate_path.as_os_str().is_empty() {
        pay::alipay::Trust::PublicKey(file(
            "alipay.public_key_path",
            &config.public_key_path,
            PublicKey::from_file,
        )?)
    } else {
        let read = |key: &'static str, path: &Path| {
            std::fs::read(path).map_err(|error| {
                Failure::config(format!("providers.{key}: {} cannot be read", path.display())).because(&error)
            })
        };
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
        key: file(
            "alipay.private_key_path",
            &config.private_key_path,
            PrivateKey::from_file,
        )?,
        trust,
        url: config.url.clone(),
    })
}

fn file<T>(
    key: &'static str,
    path: &Path,
    read: impl FnOnce(&Path) -> Result<T, pay::KeyError>,
) -> Result<T, Failure> {
    read(path).map_err(|error| {
        Failure::config(format!("providers.{key}: {} cannot be used", path.display())).because(&error)
    })
}

fn wrong(what: &str, error: &dyn std::error::Error) -> Failure {
    Failure::config(format!("providers.{what} cannot be used")).because(error)
}
