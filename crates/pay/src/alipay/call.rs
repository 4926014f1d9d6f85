//! One call of Alipay: signed, sent, verified, classified.

use http::{Method, StatusCode};
use reqwest::RequestBuilder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::codes::verdict;
use super::json::Members;
use super::sign::{Parameters, text};
use super::{Inner, Trust};
use crate::bill::beijing;
use crate::outcome::clip;
use crate::{Doubt, Failure, Outcome};

/// What every answer begins with.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Head {
    code: String,
    msg: String,
    sub_code: String,
    sub_msg: String,
}

const SUCCESS: &str = "10000";

impl Inner {
    /// Calls a method and returns its verified answer.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: &str,
        notify_url: Option<&str>,
        content: &impl Serialize,
    ) -> Outcome<T> {
        let content = serde_json::to_string(content).expect("requests are structs of texts and numbers");
        let parameters = self.parameters(method, notify_url, content);
        let request = self.request(&parameters);
        let reply = self.http.call(request).await?;
        if reply.status != StatusCode::OK {
            return Err(Doubt::Status(reply.status.as_u16()).into());
        }
        let answer = verified(&self.config.trust, method, &reply.body)?;
        read(answer)
    }

    /// Parts the parameters as Alipay's own clients do: the gateway needs the charset before it reads the body.
    fn request(&self, parameters: &Parameters) -> RequestBuilder {
        let (content, query): (Vec<_>, Vec<_>) =
            parameters.iter().partition(|(name, _)| *name == "biz_content");
        let mut url = self.url.clone();
        url.query_pairs_mut().extend_pairs(query);
        let body = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(content)
            .finish();
        self.http
            .request(Method::POST, url)
            .header("content-type", "application/x-www-form-urlencoded;charset=utf-8")
            .body(body)
    }

    /// Returns the parameters of a request, signed.
    fn parameters(&self, method: &str, notify_url: Option<&str>, content: String) -> Parameters {
        let at = self.clock.now().with_timezone(&beijing());
        let mut parameters: Parameters = [
            ("app_id", self.config.app_id.clone()),
            ("method", method.to_owned()),
            ("format", "JSON".to_owned()),
            ("charset", "utf-8".to_owned()),
            ("sign_type", "RSA2".to_owned()),
            ("timestamp", at.format("%Y-%m-%d %H:%M:%S").to_string()),
            ("version", "1.0".to_owned()),
            ("biz_content", content),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if let Some(url) = notify_url {
            parameters.insert("notify_url".to_owned(), url.to_owned());
        }
        if let Trust::Certificates(certificates) = &self.config.trust {
            parameters.insert("app_cert_sn".to_owned(), certificates.app_sn.clone());
            parameters.insert("alipay_root_cert_sn".to_owned(), certificates.root_sn.clone());
        }
        let sign = self.config.key.sign(text(&parameters, &["sign"]).as_bytes());
        parameters.insert("sign".to_owned(), sign);
        parameters
    }
}

/// Returns the bytes of an answer whose signature holds: the raw JSON value of `…_response`.
fn verified<'a>(trust: &Trust, method: &str, body: &'a [u8]) -> Outcome<&'a str> {
    let unverified = |why: &str| Failure::from(Doubt::Unverified(why.to_owned()));
    let members: Members<'a> =
        serde_json::from_slice(body).map_err(|_| unverified("the answer is not an object of the API"))?;
    let own = members.get(&format!("{}_response", method.replace('.', "_")));
    let answer = match (own, members.get("error_response")) {
        (Some(answer), None) | (None, Some(answer)) => answer,
        (Some(_), Some(_)) | (None, None) => return Err(unverified("not one answer to this call")),
    };
    let serial = members.text("alipay_cert_sn");
    if !trust.is_of(serial.as_deref()) {
        return Err(unverified("signed with another certificate"));
    }
    let Some(sign) = members.text("sign").filter(|sign| !sign.is_empty()) else {
        // Alipay does not sign for those whom it cannot tell: a hint for people, no more.
        let claimed: Head = serde_json::from_str(answer).unwrap_or_default();
        let why = format!("no signature; {} {}", claimed.code, claimed.sub_code);
        return Err(unverified(&clip(&why)));
    };
    if !trust.key().verifies(answer.as_bytes(), &sign) {
        return Err(unverified("the signature is wrong"));
    }
    Ok(answer)
}

fn read<T: DeserializeOwned>(answer: &str) -> Outcome<T> {
    let head: Head =
        serde_json::from_str(answer).map_err(|_| Failure::malformed("the head of the answer"))?;
    if head.code != SUCCESS {
        let code = if head.sub_code.is_empty() {
            &head.code
        } else {
            &head.sub_code
        };
        let message = if head.sub_msg.is_empty() {
            &head.msg
        } else {
            &head.sub_msg
        };
        return Err(verdict(&head.code, &head.sub_code).failure(code, message));
    }
    serde_json::from_str(answer).map_err(|error| Failure::malformed(clip(&error.to_string())))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::PublicKey;

    fn vectors() -> Option<(Value, PublicKey)> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors/alipay");
        let file = std::fs::read(folder.join("response_sign_vectors.json")).ok()?;
        let key = PublicKey::from_file(&folder.join("fixtures/alipay-public-key.pem")).unwrap();
        Some((serde_json::from_slice(&file).unwrap(), key))
    }

    #[test]
    fn the_published_answer_is_verified() {
        let Some((vectors, key)) = vectors() else { return };
        let trust = Trust::PublicKey(key);
        let body = vectors["response_raw"].as_str().unwrap();
        let method = "alipay.open.file.upload";
        let answer = verified(&trust, method, body.as_bytes()).unwrap();
        assert_eq!(answer, vectors["expect_sign_string"].as_str().unwrap());
        for wrong in [
            body.replace("CAxA", "CAxB"),
            body.replace("\"sign\":\"F+", "\"sign\":\"wrong-sing"),
            body.replace(":\"Success\"", ": \"Success\""),
            String::new(),
        ] {
            assert!(
                verified(&trust, method, wrong.as_bytes())
                    .unwrap_err()
                    .is_unknown(),
                "{wrong}"
            );
        }
        assert!(verified(&trust, "alipay.trade.query", body.as_bytes()).is_err());
    }

    #[test]
    fn the_published_texts_are_cut_out_of_the_answers() {
        let Some((vectors, _)) = vectors() else { return };
        for case in vectors["sign_string_extraction"].as_array().unwrap() {
            let members: Members<'_> = serde_json::from_str(case["response_raw"].as_str().unwrap()).unwrap();
            let found = members.get(case["response_key"].as_str().unwrap());
            assert_eq!(found, case["expect_sign_string"].as_str());
        }
        let extra = &vectors["extra"];
        let key =
            PublicKey::from_pem(extra["alipay_public_key_der_base64"].as_str().unwrap().as_bytes()).unwrap();
        let signed = extra["sign_data"].as_str().unwrap();
        assert!(key.verifies(signed.as_bytes(), extra["sign"].as_str().unwrap()));
    }

    proptest! {
        #[test]
        fn no_body_makes_the_reader_panic(body in r#"\{"a_response":.{0,40},"sign":"[A-Za-z+/=]{0,20}"\}|.{0,60}"#) {
            if let Ok(members) = serde_json::from_str::<Members<'_>>(&body) {
                let _ = members.get("a_response").map(read::<Value>);
            }
        }
    }
}
