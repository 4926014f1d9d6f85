//! `SendSms` of Tencent Cloud SMS, version 2021-01-11.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use tencent_cloud::{Account, Client, Clock, ConfigError, Endpoint};

use super::Error;
use crate::phone::Phone;
use crate::provider::TIMEOUT;

const ACTION: &str = "SendSms";
/// Longest code of the API that is passed on to logs.
const MAX_CODE_CHARS: usize = 100;

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
    /// Base URL of the API, without a path.
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
    client: Client,
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
        Self::build(config, TIMEOUT, Clock::system())
    }

    fn build(config: &Config, timeout: Duration, clock: Clock) -> Result<Self, Error> {
        let named = [
            ("secret_key", config.secret_key.expose_secret()),
            ("app_id", config.app_id.as_str()),
            ("sign", config.sign.as_str()),
            ("template", config.template.as_str()),
        ];
        if let Some((name, _)) = named.iter().find(|(_, value)| value.is_empty()) {
            return Err(Error::Config(format!("{name} is not set")));
        }
        let endpoint = Endpoint {
            service: "sms",
            version: "2021-01-11",
            url: config.url.clone(),
            region: config.region.clone(),
            timeout,
        };
        let account = Account {
            secret_id: config.secret_id.clone(),
            secret_key: config.secret_key.clone(),
        };
        let client = Client::build(endpoint, account, clock, reqwest::Client::builder())
            .map_err(|error: ConfigError| Error::Config(error.to_string()))?;
        Ok(Self(Arc::new(Inner {
            config: config.clone(),
            client,
        })))
    }

    pub(super) async fn send(&self, phone: &Phone, code: &str) -> Result<(), Error> {
        let config = &self.0.config;
        let message = Send {
            phone_number_set: [phone.e164()],
            sms_sdk_app_id: &config.app_id,
            sign_name: &config.sign,
            template_id: &config.template,
            template_param_set: [code],
        };
        let answer = self.0.client.post(ACTION, &message).await;
        verdict(&answer.map_err(|doubt| Error::Unknown(doubt.to_string()))?)
    }
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

/// Says what a code of the API means.
///
/// Source: Tencent Cloud, "SendSms", error codes (<https://www.tencentcloud.com/document/product/382/40536>).
fn refused(code: String) -> Error {
    let code: String = code.chars().take(MAX_CODE_CHARS).collect();
    match code.as_str() {
        "FailedOperation.PhoneNumberInBlacklist"
        | "InvalidParameterValue.IncorrectPhoneNumber"
        | "LimitExceeded.AppCountryOrRegionInBlacklist"
        | "UnsupportedOperation.ChineseMainlandTemplateToGlobalPhone"
        | "UnsupportedOperation.GlobalTemplateToChineseMainlandPhone" => Error::Number(code),
        // Too many numbers in one call: ours to mend, not to wait for.
        "LimitExceeded.PhoneNumberCountLimit" => Error::Refused(code),
        internal if internal.starts_with("InternalError") => Error::Unknown(code),
        other => match limit(other) {
            Some(retry_after) => Error::Limited { code, retry_after },
            None => Error::Refused(code),
        },
    }
}

/// How long to wait for a limit of the API; `None` if the code names none.
fn limit(code: &str) -> Option<Duration> {
    let seconds = match code.strip_prefix("LimitExceeded.") {
        Some("PhoneNumberThirtySecondLimit") => 30,
        // A day's limit may end in a minute or in a day; the API does not say.
        Some(window) if window == "PhoneNumberOneHourLimit" || window.ends_with("DailyLimit") => 60 * 60,
        Some(_) => 60,
        None if code == "LimitExceeded" || code.starts_with("RequestLimitExceeded") => 60,
        None => return None,
    };
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use doubles::sms::{Behaviour, SmsProvider};
    use proptest::prelude::*;

    use super::*;

    fn of(json: &str) -> String {
        match verdict(json.as_bytes()) {
            Ok(()) => "sent".to_owned(),
            Err(Error::Disabled | Error::Config(_)) => "settings".to_owned(),
            Err(Error::Unknown(_)) => "unknown".to_owned(),
            Err(Error::Number(_)) => "number".to_owned(),
            Err(Error::Limited { retry_after, .. }) => format!("in {} s", retry_after.as_secs()),
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
            (status("FailedOperation.PhoneNumberInBlacklist"), "number"),
            (status("InvalidParameterValue.IncorrectPhoneNumber"), "number"),
            (status("LimitExceeded.AppCountryOrRegionInBlacklist"), "number"),
            (status("LimitExceeded.PhoneNumberThirtySecondLimit"), "in 30 s"),
            (status("LimitExceeded.DeliveryFrequencyLimit"), "in 60 s"),
            (status("LimitExceeded.PhoneNumberOneHourLimit"), "in 3600 s"),
            (status("LimitExceeded.PhoneNumberDailyLimit"), "in 3600 s"),
            (status("LimitExceeded.AppDailyLimit"), "in 3600 s"),
            (error("LimitExceeded"), "in 60 s"),
            (error("RequestLimitExceeded.UinLimitExceeded"), "in 60 s"),
            (error("LimitExceeded.PhoneNumberCountLimit"), "refused"),
            (error("LimitExceededNot"), "refused"),
            (error("MissingParameter.EmptyPhoneNumberSet"), "refused"),
            (
                error("FailedOperation.InsufficientBalanceInSmsPackage"),
                "refused",
            ),
            (error("AuthFailure.SignatureFailure"), "refused"),
            (error("InternalError.Timeout"), "unknown"),
            (r#"{"Response":{"RequestId":"r"}}"#.to_owned(), "unknown"),
            ("<html>".to_owned(), "unknown"),
        ];
        for (json, expected) in cases {
            assert_eq!(of(&json), expected, "{json}");
        }
    }

    #[test]
    fn settings_that_are_incomplete_or_wrong_are_named() {
        let config = Config {
            secret_id: "id".to_owned(),
            secret_key: "planted".into(),
            app_id: "app".to_owned(),
            ..Config::default()
        };
        let wrong = Config {
            sign: "Evenkeel".to_owned(),
            template: "1".to_owned(),
            url: "https://sms.tencentcloudapi.com/v3".to_owned(),
            ..config.clone()
        };
        for (config, named) in [(config, "sign"), (wrong, "url")] {
            let error = Tencent::new(&config).unwrap_err().to_string();
            assert!(error.contains(named) && !error.contains("planted"), "{error}");
            assert!(!format!("{config:?}").contains("planted"));
        }
    }

    fn client_of(double: &SmsProvider, timeout: Duration, clock: Clock) -> Tencent {
        let account = double.account();
        let config = Config {
            secret_id: account.secret_id,
            secret_key: account.secret_key.into(),
            app_id: "1400000000".to_owned(),
            sign: "Evenkeel".to_owned(),
            template: "1".to_owned(),
            url: double.url(),
            ..Config::default()
        };
        Tencent::build(&config, timeout, clock).unwrap()
    }

    #[tokio::test]
    async fn a_clock_that_is_off_is_refused_and_one_that_is_a_little_off_is_not() {
        let double = doubles::sms::start("127.0.0.1:0").await.unwrap();
        let at = |time: DateTime<Utc>| client_of(&double, TIMEOUT, Clock::new(move || time));
        let phone = Phone::parse("13800138000").unwrap();
        let hour = chrono::TimeDelta::hours(1);
        for off in [Utc::now() - hour, Utc::now() + hour] {
            let answer = at(off).send(&phone, "123456").await;
            let Err(Error::Refused(code)) = answer else {
                panic!("{answer:?}")
            };
            assert_eq!(code, "AuthFailure.SignatureExpire");
        }
        assert!(double.messages().is_empty());
        let minute = chrono::TimeDelta::minutes(1);
        at(Utc::now() - minute).send(&phone, "123456").await.unwrap();
        assert_eq!(double.messages().len(), 1);
    }

    #[tokio::test]
    async fn an_answer_that_is_late_or_too_large_is_not_waited_for() {
        let double = doubles::sms::start("127.0.0.1:0").await.unwrap();
        let phone = Phone::parse("13800138000").unwrap();
        let hasty = client_of(&double, Duration::from_millis(200), Clock::system());
        // Who is late has sent it all the same.
        for (behaviour, sent) in [(Behaviour::Hang, 0), (Behaviour::Delay(60_000), 1)] {
            double.program(vec![behaviour]);
            let answer = hasty.send(&phone, "123456").await;
            assert!(matches!(answer, Err(Error::Unknown(_))), "{answer:?}");
            assert_eq!(double.messages().len(), sent);
        }
        double.program(vec![Behaviour::Huge]);
        let answer = client_of(&double, TIMEOUT, Clock::system())
            .send(&phone, "123456")
            .await;
        assert!(
            matches!(&answer, Err(Error::Unknown(why)) if why.contains("65536 bytes")),
            "{answer:?}"
        );
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = verdict(&bytes);
        }

        #[test]
        fn any_code_that_is_not_ok_is_an_error(code in "\\PC{0,150}") {
            prop_assume!(code != "Ok");
            let json = serde_json::json!({"Response": {"SendStatusSet": [{"Code": code}]}});
            prop_assert!(verdict(json.to_string().as_bytes()).is_err());
        }
    }
}
