//! WeChat Pay, API v3, for merchants that connect themselves: Native payments, refunds, bills and transfers to change.
//!
//! | file | what |
//! |---|---|
//! | `sign` | the `Authorization` of requests, and what signatures of answers and notifications are over |
//! | `trust` | the keys that WeChat signs with: a public key, or certificates that are fetched and rotated |
//! | `sealed` | AES-256-GCM of what is encrypted |
//! | `call` | one call: sign, send, verify, classify |
//! | `codes` | what WeChat's codes mean |
//! | `payment`, `refund`, `transfer`, `bill`, `notify` | the operations |
//!
//! Source: WeChat's documents of API v3 for merchants (<https://pay.weixin.qq.com/doc/v3/merchant/4012556398> and its neighbours).

mod bill;
mod call;
mod codes;
mod notify;
mod payment;
mod refund;
mod sealed;
mod sign;
mod transfer;
mod trust;

use std::sync::Arc;

use chrono::NaiveDate;
use futures::FutureExt;
use http::HeaderMap;
use reqwest::Url;

pub use self::sealed::ApiV3Key;
pub use self::trust::Trust;
use crate::http::base_url;
use crate::{
    Ack, Answer, Bill, Clock, Code, ConfigError, HttpClient, NewPayment, NewRefund, NewTransfer,
    Notification, NotifyError, Number, Payment, PrivateKey, Provider, Refund, Transfer,
};

/// Where the API is.
pub const URL: &str = "https://api.mch.weixin.qq.com";

/// Settings of a merchant.
#[derive(Debug, Clone)]
pub struct Config {
    /// App id.
    pub app_id: String,
    /// Merchant id (`mchid`), digits.
    pub merchant_id: String,
    /// Serial number of the merchant's certificate, hexadecimal.
    pub serial: String,
    /// Key of the merchant's certificate.
    pub key: PrivateKey,
    /// The APIv3 key.
    pub api_v3_key: ApiV3Key,
    /// What WeChat signs with.
    pub trust: Trust,
    /// What transfers are for; without it none are made.
    pub scene: Option<TransferScene>,
    /// Base URL, without a path: the path is signed.
    pub url: String,
}

/// The scene of transfers that the merchant has registered with WeChat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferScene {
    /// `transfer_scene_id`, for example `1005` (commissions).
    pub id: String,
    /// What has to be reported for the scene: pairs of type and content.
    pub reports: Vec<(String, String)>,
}

/// A client of WeChat Pay. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WeChatPay(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    url: Url,
    http: HttpClient,
    clock: Clock,
    platform: trust::Platform,
}

impl WeChatPay {
    /// Makes a client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting that is wrong.
    pub fn new(config: Config, http: HttpClient, clock: Clock) -> Result<Self, ConfigError> {
        let letters = |text: &str, max: usize| {
            (1..=max).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        };
        let texts = [
            ("app_id", &config.app_id),
            ("merchant_id", &config.merchant_id),
            ("serial", &config.serial),
        ];
        // They become parts of headers and paths.
        if let Some((name, _)) = texts.into_iter().find(|(_, text)| !letters(text, 64)) {
            return Err(ConfigError::Value(name));
        }
        let url = base_url(&config.url)?;
        if url.path() != "/" {
            return Err(ConfigError::Url(config.url));
        }
        let platform = trust::Platform::new(&config.trust)?;
        Ok(Self(Arc::new(Inner {
            config,
            url,
            http,
            clock,
            platform,
        })))
    }
}

impl Provider for WeChatPay {
    fn name(&self) -> &'static str {
        "wechat"
    }

    fn create<'a>(&'a self, order: &'a NewPayment) -> Answer<'a, Code> {
        self.0.create(order).boxed()
    }

    fn query<'a>(&'a self, payment: &'a Number) -> Answer<'a, Payment> {
        self.0.query(payment).boxed()
    }

    fn close<'a>(&'a self, payment: &'a Number) -> Answer<'a, ()> {
        self.0.close(payment).boxed()
    }

    fn refund<'a>(&'a self, refund: &'a NewRefund) -> Answer<'a, Refund> {
        self.0.refund(refund).boxed()
    }

    fn query_refund<'a>(&'a self, refund: &'a Number, payment: &'a Number) -> Answer<'a, Refund> {
        self.0.query_refund(refund, payment).boxed()
    }

    fn transfer<'a>(&'a self, transfer: &'a NewTransfer) -> Answer<'a, Transfer> {
        self.0.transfer(transfer).boxed()
    }

    fn query_transfer<'a>(&'a self, transfer: &'a Number) -> Answer<'a, Transfer> {
        self.0.query_transfer(transfer).boxed()
    }

    fn bill(&self, day: NaiveDate) -> Answer<'_, Bill> {
        self.0.bill(day).boxed()
    }

    fn read_notify<'a>(
        &'a self,
        headers: &'a HeaderMap,
        body: &'a [u8],
    ) -> futures::future::BoxFuture<'a, Result<Notification, NotifyError>> {
        self.0.read_notify(headers, body).boxed()
    }

    /// WeChat wants 200 or 204 without a body, or an error status with a JSON body.
    fn acknowledge(&self, taken: bool) -> Ack {
        if taken {
            Ack {
                status: 204,
                content_type: "",
                body: "",
            }
        } else {
            Ack {
                status: 500,
                content_type: "application/json",
                body: r#"{"code":"FAIL","message":"not taken"}"#,
            }
        }
    }
}
