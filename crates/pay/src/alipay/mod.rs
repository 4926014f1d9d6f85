//! Alipay, open platform with RSA2: payments by QR code, refunds, bills and transfers to a person's balance.
//!
//! | file | what |
//! |---|---|
//! | `sign` | the text that is signed: sorted parameters |
//! | `cert` | certificate mode: numbers of certificates |
//! | `json` | objects whose bytes matter |
//! | `call` | one call: sign, send, verify, classify |
//! | `codes` | what Alipay's codes mean |
//! | `payment`, `refund`, `transfer`, `bill`, `notify` | the operations |
//!
//! Source: Alipay's documents of each method (<https://docs.open.alipay.com/api_1/alipay.trade.fastpay.refund.query> and its
//! neighbours).
//! Transfers need certificate mode there.

mod bill;
mod call;
mod cert;
mod codes;
mod json;
mod notify;
mod payment;
mod refund;
mod sign;
mod transfer;

use std::sync::Arc;

use chrono::NaiveDate;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::HeaderMap;
use reqwest::Url;

pub use self::cert::Certificates;
use crate::http::base_url;
use crate::{
    Ack, Answer, Bill, Clock, Code, ConfigError, HttpClient, NewPayment, NewRefund, NewTransfer,
    Notification, NotifyError, Number, Payment, PrivateKey, Provider, PublicKey, Refund, Transfer,
};

/// Where the API is.
pub const URL: &str = "https://openapi.alipay.com/gateway.do";

/// Settings of a merchant.
#[derive(Debug, Clone)]
pub struct Config {
    /// App id, digits.
    pub app_id: String,
    /// The merchant's user id (PID), `2088…`: notifications name it as the seller.
    pub merchant_id: String,
    /// The app's key.
    pub key: PrivateKey,
    /// What Alipay signs with.
    pub trust: Trust,
    /// URL of the gateway, with its path.
    pub url: String,
}

/// What Alipay signs with.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Key mode: Alipay's public key.
    PublicKey(PublicKey),
    /// Certificate mode.
    Certificates(Certificates),
}

impl Trust {
    fn key(&self) -> &PublicKey {
        match self {
            Self::PublicKey(key) => key,
            Self::Certificates(certificates) => &certificates.alipay_key,
        }
    }

    /// Says whether the number of a certificate that came along, if one did, is that of the key at hand.
    fn is_of(&self, serial: Option<&str>) -> bool {
        match (self, serial) {
            (Self::PublicKey(_), _) | (Self::Certificates(_), None) => true,
            (Self::Certificates(certificates), Some(serial)) => certificates.alipay_sn == serial,
        }
    }
}

/// A client of Alipay. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Alipay(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    url: Url,
    http: HttpClient,
    clock: Clock,
}

impl Alipay {
    /// Makes a client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ConfigError`] names the setting that is wrong.
    pub fn new(config: Config, http: HttpClient, clock: Clock) -> Result<Self, ConfigError> {
        let digits =
            |text: &str| (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let texts = [("app_id", &config.app_id), ("merchant_id", &config.merchant_id)];
        if let Some((name, _)) = texts.into_iter().find(|(_, text)| !digits(text)) {
            return Err(ConfigError::Value(name));
        }
        let url = base_url(&config.url)?;
        Ok(Self(Arc::new(Inner {
            config,
            url,
            http,
            clock,
        })))
    }
}

impl Provider for Alipay {
    fn name(&self) -> &'static str {
        "alipay"
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
        _headers: &'a HeaderMap,
        body: &'a [u8],
    ) -> BoxFuture<'a, Result<Notification, NotifyError>> {
        std::future::ready(self.0.read_notify(body)).boxed()
    }

    /// Alipay reads the body: `success`, or anything else.
    fn acknowledge(&self, taken: bool) -> Ack {
        Ack {
            status: 200,
            content_type: "text/plain",
            body: if taken { "success" } else { "fail" },
        }
    }
}
