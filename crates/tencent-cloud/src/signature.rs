//! TC3-HMAC-SHA256, the signature of Tencent Cloud's API 3.0.
//!
//! Source: Tencent Cloud, "Signature v3" (<https://www.tencentcloud.com/document/product/267/37447>).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use chrono::{DateTime, Utc};
use zeroize::Zeroizing;

const ALGORITHM: &str = "TC3-HMAC-SHA256";

/// What is signed: a POST of JSON.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The product, `sms` for example.
    pub service: &'a str,
    /// The host as in the request's header, with its port if that is not the usual one.
    pub host: &'a str,
    /// The content type as in the request's header.
    pub content_type: &'a str,
    /// The action, if its header is signed as well: a request then cannot be made another action's.
    pub action: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
    /// The time of the header `x-tc-timestamp`.
    pub at: DateTime<Utc>,
}

/// Returns the `Authorization` header of a call.
#[must_use]
pub fn authorization(call: &Call<'_>, secret_id: &str, secret_key: &str) -> String {
    let date = call.at.format("%Y-%m-%d").to_string();
    let scope = format!("{date}/{}/tc3_request", call.service);
    // In the order of their names, values in lower case.
    let mut headers = vec![
        ("content-type", call.content_type.trim().to_lowercase()),
        ("host", call.host.to_lowercase()),
    ];
    headers.extend(
        call.action
            .map(|action| ("x-tc-action", action.trim().to_lowercase())),
    );
    let signed: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let signed = signed.join(";");
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let request = format!("POST\n/\n\n{lines}\n{signed}\n{}", sha256_hex(call.body));
    let to_sign = format!(
        "{ALGORITHM}\n{}\n{scope}\n{}",
        call.at.timestamp(),
        sha256_hex(request.as_bytes())
    );
    let first = Zeroizing::new(format!("TC3{secret_key}"));
    let key = sign(first.as_bytes(), &date);
    let key = sign(&key, call.service);
    let key = sign(&key, "tc3_request");
    let signature = hex(&sign(&key, &to_sign));
    format!("{ALGORITHM} Credential={secret_id}/{scope}, SignedHeaders={signed}, Signature={signature}")
}

fn sign(key: &[u8], text: &str) -> Zeroizing<Vec<u8>> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    Zeroizing::new(tag.as_ref().to_vec())
}

fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest(&SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] =
        br#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#;
    /// The example key that the provider's document shows.
    const KEY: &str = "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE";

    fn call() -> Call<'static> {
        Call {
            service: "cvm",
            host: "cvm.tencentcloudapi.com",
            content_type: "application/json; charset=utf-8",
            action: None,
            body: BODY,
            at: DateTime::from_timestamp(1_551_113_065, 0).unwrap(),
        }
    }

    /// The example of the provider's document.
    #[test]
    fn the_example_of_the_document_is_signed_as_there() {
        assert_eq!(
            authorization(&call(), "AKIDEXAMPLE", KEY),
            "TC3-HMAC-SHA256 Credential=AKIDEXAMPLE/2019-02-25/cvm/tc3_request, SignedHeaders=content-type;host, \
             Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"
        );
    }

    /// Today's document shows this call with the key masked. The signature was computed over the lines it shows by another
    /// implementation of HMAC (Python's).
    #[test]
    fn the_action_is_signed_if_it_is_given() {
        let with = |action| authorization(&Call { action, ..call() }, "AKIDEXAMPLE", KEY);
        assert_eq!(
            with(Some("DescribeInstances")),
            "TC3-HMAC-SHA256 Credential=AKIDEXAMPLE/2019-02-25/cvm/tc3_request, \
             SignedHeaders=content-type;host;x-tc-action, \
             Signature=644be983de9a8a3f00db8eadaba61467c3b429e2215758ba897b738ca469fd26"
        );
    }
}
