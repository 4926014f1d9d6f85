//! One call of WeChat Pay: signed, sent, verified, classified.

use http::{Method, StatusCode};
use reqwest::RequestBuilder;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Inner;
use super::codes::verdict;
use super::sign::Signing;
use crate::http::Reply;
use crate::outcome::{Verdict, clip};
use crate::{Doubt, Failure, Outcome};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Problem {
    code: String,
    message: String,
}

impl Inner {
    pub(super) async fn get<T: DeserializeOwned>(&self, target: &str) -> Outcome<T> {
        let body = self.exchange(Method::GET, target, "").await?;
        parse(&body)
    }

    pub(super) async fn post<T: DeserializeOwned>(&self, target: &str, body: &impl Serialize) -> Outcome<T> {
        let body = self.exchange(Method::POST, target, &to_json(body)).await?;
        parse(&body)
    }

    /// Posts what is answered with 204.
    pub(super) async fn post_empty(&self, target: &str, body: &impl Serialize) -> Outcome<()> {
        self.exchange(Method::POST, target, &to_json(body))
            .await
            .map(drop)
    }

    /// Returns the body of a verified success.
    async fn exchange(&self, method: Method, target: &str, body: &str) -> Outcome<Vec<u8>> {
        let reply = self.http.call(self.signed(method, target, body)).await?;
        let Reply {
            status,
            headers,
            body,
        } = reply;
        let verified = self.verify(&headers, &body).await;
        if status.is_server_error() {
            // Unknown in any case; what it says is for operators.
            return Err(match verified {
                Ok(()) => problem(status, &body, |_| Verdict::Unknown),
                Err(_) => Doubt::Status(status.as_u16()).into(),
            });
        }
        if let Err(why) = verified {
            return Err(unverified(status, &body, &why.to_string()));
        }
        match status {
            StatusCode::OK | StatusCode::NO_CONTENT => Ok(body),
            // USER_PAYING: somebody is paying the order that is to be closed. Neither done nor refused.
            StatusCode::ACCEPTED => Err(problem(status, &body, |_| Verdict::Unknown)),
            _ if status.is_client_error() => Err(problem(status, &body, verdict)),
            _ => Err(Doubt::Status(status.as_u16()).into()),
        }
    }

    /// Makes a signed request. `target` is path and query.
    pub(super) fn signed(&self, method: Method, target: &str, body: &str) -> RequestBuilder {
        let mut url = self.url.clone();
        let (path, query) = target
            .split_once('?')
            .map_or((target, None), |(path, query)| (path, Some(query)));
        url.set_path(path);
        url.set_query(query);
        // As it will be sent, should the URL write it otherwise.
        let target = url.query().map_or_else(
            || url.path().to_owned(),
            |query| format!("{}?{query}", url.path()),
        );
        let config = &self.config;
        let authorization = Signing {
            merchant_id: &config.merchant_id,
            serial: &config.serial,
            method: method.as_str(),
            target: &target,
            at: self.clock.now().timestamp(),
            nonce: &uuid::Uuid::new_v4().simple().to_string(),
            body,
        }
        .authorization(&config.key);
        let mut request = self
            .http
            .request(method, url)
            .header(AUTHORIZATION, authorization)
            .header(ACCEPT, "application/json")
            // WeChat refuses requests without one.
            .header("user-agent", concat!("evenkeel/", env!("CARGO_PKG_VERSION")));
        if let Some(id) = self.platform.id() {
            request = request.header("wechatpay-serial", id);
        }
        if !body.is_empty() {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.to_owned());
        }
        request
    }
}

fn to_json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("requests are structs of texts and numbers")
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Outcome<T> {
    serde_json::from_slice(body).map_err(|error| Failure::malformed(clip(&error.to_string())))
}

/// Classifies an error answer that is WeChat's.
fn problem(status: StatusCode, body: &[u8], verdict: impl Fn(&str) -> Verdict) -> Failure {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) if !problem.code.is_empty() => {
            verdict(&problem.code).failure(&problem.code, &problem.message)
        }
        Ok(_) | Err(_) => Doubt::Status(status.as_u16()).into(),
    }
}

/// What an unverified answer claims is a hint for people: WeChat signs nothing while it rejects our signature.
fn unverified(status: StatusCode, body: &[u8], why: &str) -> Failure {
    let claimed = serde_json::from_slice::<Problem>(body).unwrap_or_default();
    Doubt::Unverified(format!("{why}; HTTP {} {}", status.as_u16(), clip(&claimed.code))).into()
}
