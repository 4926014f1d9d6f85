//! Login of WeChat mini programs: `code2Session`.
//!
//! Source: WeChat, "code2Session" (<https://developers.weixin.qq.com/miniprogram/dev/OpenApiDoc/user-login/code2Session.html>).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::provider::{TIMEOUT, base_url, call, client};

const PATH: &str = "/sns/jscode2session";
/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 16 * 1024;
/// Longest code that is passed on.
const MAX_CODE_BYTES: usize = 128;
/// Longest id that is taken.
const MAX_ID_BYTES: usize = 128;

/// Settings of the mini program. Without an app id nobody logs in by WeChat.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// App id (`WECHAT_APPID`).
    pub app_id: String,
    /// App secret (`WECHAT_SECRET`).
    pub secret: SecretString,
    /// Base URL of the API, without a path.
    pub url: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            app_id: String::new(),
            secret: SecretString::default(),
            url: "https://api.weixin.qq.com".to_owned(),
        }
    }
}

/// Who somebody is to WeChat.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user in this app.
    pub openid: String,
    /// The user in all apps of the account; absent unless the app is bound to one.
    pub unionid: Option<String>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// Why nobody was recognized. Never holds the secret or the code.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No mini program is configured.
    #[error("no mini program is configured: set WECHAT_APPID and WECHAT_SECRET")]
    Disabled,
    /// The settings are not usable.
    #[error("auth.wechat: {0}")]
    Config(String),
    /// WeChat does not know the code, or it was used.
    #[error("WeChat does not know the code ({0})")]
    Code(i64),
    /// WeChat blocks this user.
    #[error("WeChat blocks this user ({0})")]
    Blocked(i64),
    /// WeChat is busy or limits us.
    #[error("WeChat is busy or limits us ({0})")]
    Busy(i64),
    /// WeChat refuses our app id or secret, or says something we do not know.
    #[error("WeChat refuses ({0})")]
    Refused(i64),
    /// No answer in time, or not one of WeChat's.
    #[error("WeChat did not answer as it should: {0}")]
    Unknown(String),
}

/// A client of the API. Cheap to clone.
#[derive(Clone)]
pub struct Wechat(Option<Arc<Inner>>);

struct Inner {
    config: Config,
    url: reqwest::Url,
    client: reqwest::Client,
}

impl fmt::Debug for Wechat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wechat")
            .field("configured", &self.0.is_some())
            .finish()
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    errcode: i64,
    openid: Option<String>,
    unionid: Option<String>,
}

impl Wechat {
    /// Makes the client that is configured.
    ///
    /// # Errors
    /// The settings are incomplete or wrong.
    pub fn new(config: &Config) -> Result<Self, Error> {
        Self::build(config, TIMEOUT)
    }

    fn build(config: &Config, timeout: Duration) -> Result<Self, Error> {
        if config.app_id.is_empty() {
            return Ok(Self(None));
        }
        if config.secret.expose_secret().is_empty() {
            return Err(Error::Config("secret is not set".to_owned()));
        }
        let mut url = base_url(&config.url)
            .ok_or_else(|| Error::Config("url is not http(s)://host without a path".to_owned()))?;
        url.set_path(PATH);
        let client = client(timeout).map_err(|_| Error::Config("no HTTP client can be made".to_owned()))?;
        Ok(Self(Some(Arc::new(Inner {
            config: config.clone(),
            url,
            client,
        }))))
    }

    /// Asks WeChat whose code this is. A code is good once: an answer that is lost loses it, and the client gets another.
    ///
    /// # Errors
    /// Nobody was recognized.
    pub async fn exchange(&self, code: &str) -> Result<Identity, Error> {
        let inner = self.0.as_ref().ok_or(Error::Disabled)?;
        if code.is_empty() || code.len() > MAX_CODE_BYTES || !code.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Error::Code(INVALID_CODE));
        }
        let mut url = inner.url.clone();
        url.query_pairs_mut()
            .append_pair("appid", &inner.config.app_id)
            .append_pair("secret", inner.config.secret.expose_secret())
            .append_pair("js_code", code)
            .append_pair("grant_type", "authorization_code");
        let answer = call(inner.client.get(url), MAX_ANSWER_BYTES)
            .await
            .map_err(Error::Unknown)?;
        identity(&answer)
    }
}

const INVALID_CODE: i64 = 40_029;

fn identity(answer: &[u8]) -> Result<Identity, Error> {
    let answer: Answer = serde_json::from_slice(answer)
        .map_err(|_| Error::Unknown("the answer is not the API's".to_owned()))?;
    match answer.errcode {
        0 => {}
        INVALID_CODE | 40_163 | 41_008 => return Err(Error::Code(answer.errcode)),
        40_226 => return Err(Error::Blocked(answer.errcode)),
        -1 | 45_011 => return Err(Error::Busy(answer.errcode)),
        other => return Err(Error::Refused(other)),
    }
    let fit = |id: &String| !id.is_empty() && id.len() <= MAX_ID_BYTES;
    let openid = answer.openid.filter(fit);
    let openid = openid.ok_or_else(|| Error::Unknown("the answer has no openid".to_owned()))?;
    Ok(Identity {
        openid,
        unionid: answer.unionid.filter(fit),
    })
}

#[cfg(test)]
mod tests {
    use doubles::wechat::Behaviour;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn answers_are_told_apart() {
        let of = |json: &str| identity(json.as_bytes());
        let known = of(r#"{"openid":"o","session_key":"k","unionid":"u"}"#).unwrap();
        assert_eq!(
            (known.openid.as_str(), known.unionid.as_deref()),
            ("o", Some("u"))
        );
        assert_eq!(
            of(r#"{"openid":"o","unionid":"","errcode":0}"#).unwrap().unionid,
            None
        );
        assert!(matches!(
            of(r#"{"errcode":40029,"errmsg":"invalid code"}"#),
            Err(Error::Code(40_029))
        ));
        assert!(matches!(of(r#"{"errcode":40163}"#), Err(Error::Code(40_163))));
        assert!(matches!(of(r#"{"errcode":40226}"#), Err(Error::Blocked(_))));
        assert!(matches!(of(r#"{"errcode":45011}"#), Err(Error::Busy(_))));
        assert!(matches!(of(r#"{"errcode":-1}"#), Err(Error::Busy(_))));
        assert!(matches!(of(r#"{"errcode":40125}"#), Err(Error::Refused(_))));
        for broken in ["", "{}", "[]", r#"{"openid":""}"#, r#"{"openid":7}"#] {
            assert!(matches!(of(broken), Err(Error::Unknown(_))), "{broken}");
        }
    }

    fn planted(url: &str) -> Config {
        Config {
            app_id: "wx1".to_owned(),
            secret: "planted-secret".into(),
            url: url.to_owned(),
        }
    }

    #[tokio::test]
    async fn an_error_of_the_network_says_why_and_does_not_hold_the_secret() {
        // Nobody listens on the discard port.
        let config = planted("http://127.0.0.1:9");
        let wechat = Wechat::new(&config).unwrap();
        let error = wechat.exchange("planted-code").await.unwrap_err();
        let text = format!("{error:?} {error} {wechat:?} {config:?}");
        assert!(!text.contains("planted"), "{text}");
        assert!(text.contains("refused"), "{text}");
    }

    #[tokio::test]
    async fn an_answer_that_is_late_or_too_large_is_not_waited_for() {
        let double = doubles::wechat::start("127.0.0.1:0").await.unwrap();
        let app = double.app();
        let config = Config {
            app_id: app.app_id,
            secret: app.secret.into(),
            url: double.url(),
        };
        let hasty = Wechat::build(&config, Duration::from_millis(200)).unwrap();
        for behaviour in [Behaviour::Hang, Behaviour::Delay(60_000)] {
            double.program(vec![behaviour]);
            let code = double.code("openid", None);
            let answer = hasty.exchange(&code).await;
            assert!(matches!(answer, Err(Error::Unknown(_))), "{answer:?}");
            // The answer is lost, and the code with it.
            let again = Wechat::new(&config).unwrap().exchange(&code).await;
            assert!(matches!(again, Err(Error::Code(40_163))), "{again:?}");
        }
        double.program(vec![Behaviour::Huge]);
        let answer = Wechat::new(&config).unwrap().exchange("any").await;
        assert!(
            matches!(&answer, Err(Error::Unknown(why)) if why.contains("16384 bytes")),
            "{answer:?}"
        );
    }

    #[tokio::test]
    async fn a_code_of_another_form_is_not_sent() {
        // Nobody listens there: what is sent would end as unknown.
        let wechat = Wechat::new(&planted("http://127.0.0.1:9")).unwrap();
        let long = "x".repeat(MAX_CODE_BYTES + 1);
        for code in ["", "two words", "码", "line\n", long.as_str()] {
            let answer = wechat.exchange(code).await;
            assert!(
                matches!(answer, Err(Error::Code(INVALID_CODE))),
                "{code:?}: {answer:?}"
            );
        }
    }

    #[tokio::test]
    async fn nobody_is_asked_without_an_app_and_half_settings_are_refused() {
        let wechat = Wechat::new(&Config::default()).unwrap();
        assert!(matches!(wechat.exchange("code").await, Err(Error::Disabled)));
        let no_secret = Config {
            secret: SecretString::default(),
            ..planted("http://127.0.0.1:9")
        };
        for (config, named) in [(no_secret, "secret"), (planted("127.0.0.1:9"), "url")] {
            let error = Wechat::new(&config).unwrap_err().to_string();
            assert!(error.contains(named) && !error.contains("planted"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn any_answer_is_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = identity(&bytes);
        }
    }
}
