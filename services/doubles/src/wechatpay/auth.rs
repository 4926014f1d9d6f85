//! Checks that a request is the merchant's: `WECHATPAY2-SHA256-RSA2048`.

use std::collections::HashMap;

use axum::http::{HeaderMap, Method, Uri};

use super::platform::Platform;

/// Furthest that a merchant's clock may be off, in seconds.
const MAX_SKEW_SECONDS: u64 = 300;

pub(super) fn is_the_merchants(
    platform: &Platform,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
    now: i64,
) -> bool {
    check(platform, method, uri, headers, body, now).is_some()
}

fn check(
    platform: &Platform,
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    body: &[u8],
    now: i64,
) -> Option<()> {
    let text = headers.get("authorization")?.to_str().ok()?;
    let fields: HashMap<&str, &str> = text
        .strip_prefix("WECHATPAY2-SHA256-RSA2048 ")?
        .split(',')
        .filter_map(|field| {
            let (name, value) = field.split_once('=')?;
            Some((name.trim(), value.strip_prefix('"')?.strip_suffix('"')?))
        })
        .collect();
    let known = *fields.get("mchid")? == platform.merchant.merchant_id
        && *fields.get("serial_no")? == platform.merchant.serial;
    let at = fields.get("timestamp")?;
    let fresh = now.abs_diff(at.parse().ok()?) <= MAX_SKEW_SECONDS;
    let (nonce, target) = (fields.get("nonce_str")?, uri.path_and_query()?.as_str());
    let mut message = format!("{method}\n{target}\n{at}\n{nonce}\n").into_bytes();
    message.extend_from_slice(body);
    message.push(b'\n');
    let signed = platform.merchant_key.verifies(&message, fields.get("signature")?);
    // WeChat answers 406 without these two; the client would never get that far.
    let named = headers.contains_key("accept") && headers.contains_key("user-agent");
    (known && fresh && signed && named).then_some(())
}
