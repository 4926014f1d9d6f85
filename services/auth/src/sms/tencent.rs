//! `SendSms` of Tencent Cloud SMS, version 2021-01-11.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::Error;
use super::signature::{Call, authorization};
use crate::phone::Phone;

const SERVICE: &str = "sms";
const ACTION: &str = "SendSms";
const VERSION: &str = "2021-01-11";
const CONTENT_TYPE: &str = "application/json; charset=utf-8";
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// How long to wait where the provider only says "too often".
const LIMITED: Duration = Duration::from_secs(60);

/// Settings of the sender. Without a secret id no codes are sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Id of the API key.
    pub secret_id: String,
    /// The API key.
    pub secret_key: SecretString,
    /// Id of the SMS application (`SmsSdkAppId`).
    pub app_id: String,
    /// Approved signature, without brackets.
    pub sign: String,
    /// Id of an approved template whose first parameter is the code.
    pub template: String,
    /// Region.
    pub region: String,
    /// Base URL of the API.
    pub url: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            secret_id: String::new(),
            secret_key: SecretString::default(),
            app_id: String::new(),
            sign: String::new(),
            template: String::new(),
            region: "ap-guangzhou".to_owned(),
            url: "https://sms.tencentcloudapi.com".to_owned(),
        }
    }
}

/// A client of the API. Cheap to clone.
#[derive(Clone)]
pub struct Tencent(Arc<Inner>);

struct Inner {
    config: Config,
    host: String,
    client: reqwest::Client,
}

impl fmt::Debug for Tencent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tencent")
            .field("url", &self.0.config.url)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Send<'a> {
    phone_number_set: [&'a str; 1],
    sms_sdk_app_id: &'a str,
    sign_name: &'a str,
    template_id: &'a str,
    template_param_set: [&'a str; 1],
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    response: Response,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Response {
    error: Option<Refusal>,
    #[serde(default)]
    send_status_set: Vec<Refusal>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    code: String,
}

impl Tencent {
    pub(super) fn new(config: &Config) -> Result<Self, Error> {
        let named = [
            ("secret_key", config.secret_key.expose_secret()),
            ("app_id", config.app_id.as_str()),
            ("sign", config.sign.as_str()),
            ("template", config.template.as_str()),
        ];
        if let Some((name, _)) = named.iter().find(|(_, value)| value.is_empty()) {
            return Err(Error::Config(format!("{name} is not set")));
        }
        let wrong = |_| Error::Config("url is not an http(s) URL".to_owned());
        let url: reqwest::Url = config.url.parse().map_err(wrong)?;
        let host = match (url.host_str(), url.port()) {
            (Some(host), None) => host.to_owned(),
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (None, _) => return Err(Error::Config("url has no host".to_owned())),
        };
        let client = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .build()
            .map_err(|_| Error::Config("no HTTP client can be made".to_owned()))?;
        Ok(Self(Arc::new(Inner {
            config: config.clone(),
            host,
            client,
        })))
    }

    pub(super) async fn send(&self, phone: &Phone, code: &str) -> Result<(), Error> {
        let config = &self.0.config;
        let body = serde_json::to_vec(&Send {
            phone_number_set: [phone.e164()],
            sms_sdk_app_id: &config.app_id,
            sign_name: &config.sign,
            template_id: &config.template,
            template_param_set: [code],
        })
        .map_err(|error| Error::Unknown(error.to_string()))?;
        let now = Utc::now();
        let call = Call {
            service: SERVICE,
            host: &self.0.host,
            content_type: CONTENT_TYPE,
            body: &body,
            at: now,
        };
        let authorization = authorization(&call, &config.secret_id, config.secret_key.expose_secret());
        let sent = self
            .0
            .client
            .post(&config.url)
            .header("authorization", authorization)
            .header("content-type", CONTENT_TYPE)
            .header("host", &self.0.host)
            .header("x-tc-action", ACTION)
            .header("x-tc-version", VERSION)
            .header("x-tc-region", &config.region)
            .header("x-tc-timestamp", now.timestamp().to_string())
            .body(body)
            .send()
            .await
            .map_err(unknown)?;
        let status = sent.status();
        let answer = bounded(sent).await?;
        if !status.is_success() {
            return Err(Error::Unknown(format!("HTTP {}", status.as_u16())));
        }
        verdict(&answer)
    }
}

/// Reads an answer up to its bound.
async fn bounded(mut response: reqwest::Response) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unknown)? {
        if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Error::Unknown("the answer is too large".to_owned()));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn unknown(error: reqwest::Error) -> Error {
    Error::Unknown(error.without_url().to_string())
}

/// Says what an answer means. Both the call and the message have a code of their own.
fn verdict(answer: &[u8]) -> Result<(), Error> {
    let answer: Answer = serde_json::from_slice(answer)
        .map_err(|_| Error::Unknown("the answer is not the API's".to_owned()))?;
    if let Some(refusal) = answer.response.error {
        return Err(refused(refusal.code));
    }
    match answer.response.send_status_set.into_iter().next() {
        Some(status) if status.code == "Ok" => Ok(()),
        Some(status) => Err(refused(status.code)),
        None => Err(Error::Unknown("the answer names no message".to_owned())),
    }
}

/// Classes of the codes in the API's document, by their beginning.
fn refused(code: String) -> Error {
    let code: String = code.chars().take(100).collect();
    if code.starts_with("LimitExceeded") || code.starts_with("RequestLimitExceeded") {
        return Error::Limited {
            code,
            retry_after: LIMITED,
        };
    }
    if code.starts_with("InternalError") {
        return Error::Unknown(code);
    }
    let number = ["PhoneNumber", "phoneNumber", "PhoneNumberInBlacklist"];
    if number.iter().any(|word| code.contains(word)) {
        return Error::Number(code);
    }
    Error::Refused(code)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(json: &str) -> String {
        match verdict(json.as_bytes()) {
            Ok(()) => "sent".to_owned(),
            Err(Error::Disabled | Error::Config(_)) => "settings".to_owned(),
            Err(Error::Unknown(_)) => "unknown".to_owned(),
            Err(Error::Number(_)) => "number".to_owned(),
            Err(Error::Limited { .. }) => "limited".to_owned(),
            Err(Error::Refused(_)) => "refused".to_owned(),
        }
    }

    #[test]
    fn answers_are_told_apart() {
        let status = |code: &str| {
            format!(r#"{{"Response":{{"SendStatusSet":[{{"Code":"{code}"}}],"RequestId":"r"}}}}"#)
        };
        let error = |code: &str| format!(r#"{{"Response":{{"Error":{{"Code":"{code}","Message":"m"}}}}}}"#);
        let cases = [
            (status("Ok"), "sent"),
            (status("LimitExceeded.PhoneNumberDailyLimit"), "limited"),
            (status("FailedOperation.PhoneNumberInBlacklist"), "number"),
            (status("InvalidParameterValue.IncorrectPhoneNumber"), "number"),
            (error("AuthFailure.SignatureFailure"), "refused"),
            (error("RequestLimitExceeded"), "limited"),
            (error("InternalError.Timeout"), "unknown"),
            (r#"{"Response":{"RequestId":"r"}}"#.to_owned(), "unknown"),
            ("<html>".to_owned(), "unknown"),
        ];
        for (json, expected) in cases {
            assert_eq!(of(&json), expected, "{json}");
        }
    }

    #[test]
    fn settings_that_are_incomplete_are_named() {
        let config = Config {
            secret_id: "id".to_owned(),
            secret_key: "planted".into(),
            app_id: "app".to_owned(),
            ..Config::default()
        };
        let error = Tencent::new(&config).unwrap_err().to_string();
        assert!(error.contains("sign") && !error.contains("planted"), "{error}");
        assert!(!format!("{config:?}").contains("planted"));
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = verdict(&bytes);
        }
    }
}
