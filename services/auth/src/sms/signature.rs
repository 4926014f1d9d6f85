//! TC3-HMAC-SHA256, the signature of Tencent Cloud's API 3.0.
//!
//! Source: Tencent Cloud, "Signature v3" (<https://www.tencentcloud.com/document/product/267/37447>).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use chrono::{DateTime, Utc};

const ALGORITHM: &str = "TC3-HMAC-SHA256";
const SIGNED_HEADERS: &str = "content-type;host";

/// What is signed: a POST of JSON.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) service: &'a str,
    pub(super) host: &'a str,
    pub(super) content_type: &'a str,
    pub(super) body: &'a [u8],
    pub(super) at: DateTime<Utc>,
}

/// Returns the `Authorization` header of a call.
pub(super) fn authorization(call: &Call<'_>, secret_id: &str, secret_key: &str) -> String {
    let date = call.at.format("%Y-%m-%d").to_string();
    let scope = format!("{date}/{}/tc3_request", call.service);
    let request = format!(
        "POST\n/\n\ncontent-type:{}\nhost:{}\n\n{SIGNED_HEADERS}\n{}",
        call.content_type,
        call.host,
        sha256_hex(call.body)
    );
    let to_sign = format!(
        "{ALGORITHM}\n{}\n{scope}\n{}",
        call.at.timestamp(),
        sha256_hex(request.as_bytes())
    );
    let key = sign(format!("TC3{secret_key}").as_bytes(), &date);
    let key = sign(key.as_ref(), call.service);
    let key = sign(key.as_ref(), "tc3_request");
    let signature = hex(sign(key.as_ref(), &to_sign).as_ref());
    format!(
        "{ALGORITHM} Credential={secret_id}/{scope}, SignedHeaders={SIGNED_HEADERS}, Signature={signature}"
    )
}

fn sign(key: &[u8], text: &str) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes())
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

    /// The example of the provider's document, with the example key that it shows.
    #[test]
    fn the_example_of_the_document_is_signed_as_there() {
        let body =
            br#"{"Limit": 1, "Filters": [{"Values": ["\u672a\u547d\u540d"], "Name": "instance-name"}]}"#;
        let call = Call {
            service: "cvm",
            host: "cvm.tencentcloudapi.com",
            content_type: "application/json; charset=utf-8",
            body,
            at: DateTime::from_timestamp(1_551_113_065, 0).unwrap(),
        };
        let header = authorization(&call, "AKIDEXAMPLE", "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE");
        assert_eq!(
            header,
            "TC3-HMAC-SHA256 Credential=AKIDEXAMPLE/2019-02-25/cvm/tc3_request, SignedHeaders=content-type;host, \
             Signature=72e494ea809ad7a8c8f7a4507b9bddcbaa8e581f516e8da2f66e2c5a96525168"
        );
    }
}
