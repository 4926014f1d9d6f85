//! Tencent Cloud's side of TC3-HMAC-SHA256, from its document "Signature v3". Not the client's code, so that a mistake in
//! one is noticed by the other.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use axum::http::HeaderMap;
use chrono::DateTime;
use serde::{Deserialize, Serialize};

/// Furthest that a client's clock may be off, in seconds.
const MAX_SKEW_SECONDS: u64 = 300;
/// Headers without which a signature says too little.
const SIGNED_AT_LEAST: [&str; 2] = ["content-type", "host"];

/// What a client signs with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Id of the key.
    pub secret_id: String,
    /// The key.
    pub secret_key: String,
}

impl Account {
    /// Makes up an account.
    #[must_use]
    pub fn generate() -> Self {
        Self {
            secret_id: format!("AKID{}", crate::random_text()),
            secret_key: crate::random_text(),
        }
    }
}

/// The code for a signature that does not hold.
pub(crate) const WRONG: &str = "AuthFailure.SignatureFailure";
const MALFORMED: &str = "AuthFailure.InvalidAuthorization";

/// Checks time and signature of a POST to a product; the error is the API's code.
pub(crate) fn check(
    service: &str,
    account: &Account,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), &'static str> {
    let at: i64 = text(headers, "x-tc-timestamp").parse().map_err(|_| MALFORMED)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    if u64::try_from(at).map_or(true, |at| now.abs_diff(at) > MAX_SKEW_SECONDS) {
        return Err("AuthFailure.SignatureExpire");
    }
    let fields = text(headers, "authorization")
        .strip_prefix("TC3-HMAC-SHA256 ")
        .ok_or(MALFORMED)?;
    let field = |name: &str| {
        fields
            .split(", ")
            .find_map(|part| part.strip_prefix(name))
            .ok_or(MALFORMED)
    };
    let (id, scope) = field("Credential=")?.split_once('/').ok_or(MALFORMED)?;
    if id != account.secret_id {
        return Err("AuthFailure.SecretIdNotFound");
    }
    let date = DateTime::from_timestamp(at, 0)
        .ok_or(MALFORMED)?
        .format("%Y-%m-%d")
        .to_string();
    if scope != format!("{date}/{service}/tc3_request") {
        return Err(WRONG);
    }
    let names = field("SignedHeaders=")?;
    if SIGNED_AT_LEAST
        .iter()
        .any(|wanted| !names.split(';').any(|name| name == *wanted))
    {
        return Err(MALFORMED);
    }
    let mut canonical = String::from("POST\n/\n\n");
    for name in names.split(';') {
        canonical.push_str(&format!("{name}:{}\n", text(headers, name).trim().to_lowercase()));
    }
    canonical.push_str(&format!("\n{names}\n{}", hex(digest(&SHA256, body).as_ref())));
    let hashed = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
    let mut key = format!("TC3{}", account.secret_key).into_bytes();
    for part in [date.as_str(), service, "tc3_request"] {
        key = mac(&key, part);
    }
    let expected = hex(&mac(&key, &format!("TC3-HMAC-SHA256\n{at}\n{scope}\n{hashed}")));
    if field("Signature=")? == expected {
        Ok(())
    } else {
        Err(WRONG)
    }
}

/// Says whether the signature of a request covers a header.
pub(crate) fn covers(headers: &HeaderMap, name: &str) -> bool {
    text(headers, "authorization")
        .split(", ")
        .find_map(|part| part.strip_prefix("SignedHeaders="))
        .is_some_and(|names| names.split(';').any(|signed| signed == name))
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(HMAC_SHA256, key), text.as_bytes())
        .as_ref()
        .to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
