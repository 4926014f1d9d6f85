//! Signatures of WeChat Pay: `WECHATPAY2-SHA256-RSA2048`.

use chrono::{DateTime, Utc};
use http::HeaderMap;

use crate::{NotifyError, PrivateKey, PublicKey};

const SCHEME: &str = "WECHATPAY2-SHA256-RSA2048";
/// How far the time of a signature may be from ours, in seconds.
const MAX_SKEW_SECONDS: u64 = 300;
/// Start of the signatures of WeChat's probes.
const PROBE: &str = "WECHATPAY/SIGNTEST/";
/// Longest value of a signature's header, in bytes; a signature of 8,192 bits has 1,368.
const MAX_HEADER_BYTES: usize = 2048;

/// A request to sign.
#[derive(Debug)]
pub(super) struct Signing<'a> {
    pub(super) merchant_id: &'a str,
    pub(super) serial: &'a str,
    pub(super) method: &'a str,
    /// Path and query, as they are sent.
    pub(super) target: &'a str,
    pub(super) at: i64,
    pub(super) nonce: &'a str,
    pub(super) body: &'a str,
}

impl Signing<'_> {
    /// Returns the value of `Authorization`.
    pub(super) fn authorization(&self, key: &PrivateKey) -> String {
        self.header(&key.sign(self.message().as_bytes()))
    }

    fn header(&self, signature: &str) -> String {
        format!(
            "{SCHEME} mchid=\"{}\",nonce_str=\"{}\",timestamp=\"{}\",serial_no=\"{}\",signature=\"{signature}\"",
            self.merchant_id, self.nonce, self.at, self.serial
        )
    }

    fn message(&self) -> String {
        format!(
            "{}\n{}\n{}\n{}\n{}\n",
            self.method, self.target, self.at, self.nonce, self.body
        )
    }
}

/// The signature that came with an answer or a notification.
#[derive(Debug)]
pub(super) struct Signature<'a> {
    pub(super) serial: &'a str,
    timestamp: &'a str,
    nonce: &'a str,
    signature: &'a str,
}

impl<'a> Signature<'a> {
    /// Reads the headers, and refuses probes and what was signed more than 5 minutes away from `now`.
    pub(super) fn read(headers: &'a HeaderMap, now: DateTime<Utc>) -> Result<Self, NotifyError> {
        if headers
            .get("wechatpay-signature-type")
            .is_some_and(|scheme| scheme != SCHEME)
        {
            return Err(NotifyError::Malformed("a signature of another scheme".to_owned()));
        }
        let found = Self {
            serial: header(headers, "wechatpay-serial")?,
            timestamp: header(headers, "wechatpay-timestamp")?,
            nonce: header(headers, "wechatpay-nonce")?,
            signature: header(headers, "wechatpay-signature")?,
        };
        if found.signature.starts_with(PROBE) {
            return Err(NotifyError::Probe);
        }
        let at: i64 = found
            .timestamp
            .parse()
            .map_err(|_| NotifyError::Malformed("the time is no number".to_owned()))?;
        let seconds = now.timestamp().abs_diff(at);
        if seconds > MAX_SKEW_SECONDS {
            return Err(NotifyError::Stale { seconds });
        }
        Ok(found)
    }

    /// Says whether the signature is of this key and these bytes.
    pub(super) fn holds(&self, key: &PublicKey, body: &[u8]) -> bool {
        let mut message = format!("{}\n{}\n", self.timestamp, self.nonce).into_bytes();
        message.extend_from_slice(body);
        message.push(b'\n');
        key.verifies(&message, self.signature)
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, NotifyError> {
    let mut values = headers.get_all(name).iter();
    match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
        (Some(value), None) if !value.is_empty() && value.len() <= MAX_HEADER_BYTES => Ok(value),
        _ => Err(NotifyError::Missing(name)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(timestamp: &str, signature: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("wechatpay-serial", "A1".parse().unwrap());
        headers.insert("wechatpay-nonce", "nonce".parse().unwrap());
        headers.insert("wechatpay-timestamp", timestamp.parse().unwrap());
        headers.insert("wechatpay-signature", signature.parse().unwrap());
        headers
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000, 0).unwrap()
    }

    #[test]
    fn the_signed_text_of_a_request_is_the_published_one() {
        let signing = Signing {
            merchant_id: "1230000109",
            serial: "A1",
            method: "GET",
            target: "/v3/pay/transactions/id/1217752501201407033233368018?mchid=1230000109",
            at: 1_652_750_623,
            nonce: "eBYqCOxa0QudMnPvVilkTzOg3gHh5Z3u",
            body: "",
        };
        assert_eq!(
            signing.message(),
            "GET\n/v3/pay/transactions/id/1217752501201407033233368018?mchid=1230000109\n1652750623\n\
             eBYqCOxa0QudMnPvVilkTzOg3gHh5Z3u\n\n"
        );
    }

    #[test]
    fn the_header_of_a_request_is_the_published_one() {
        let signing = Signing {
            merchant_id: "1234567890",
            serial: "0123456789ABC",
            method: "POST",
            target: "/v3/certificates",
            at: 1_624_523_846,
            nonce: "A1B2C3D4E5F6G7",
            body: "Hello World!\n",
        };
        assert_eq!(
            signing.message(),
            "POST\n/v3/certificates\n1624523846\nA1B2C3D4E5F6G7\nHello World!\n\n"
        );
        assert_eq!(
            signing.header("c2ln"),
            "WECHATPAY2-SHA256-RSA2048 mchid=\"1234567890\",nonce_str=\"A1B2C3D4E5F6G7\",timestamp=\"1624523846\",\
             serial_no=\"0123456789ABC\",signature=\"c2ln\""
        );
    }

    #[test]
    fn a_signature_is_good_for_five_minutes_both_ways() {
        for (at, good) in [
            ("1700000300", true),
            ("1699999700", true),
            ("1700000301", false),
            ("1699999699", false),
            ("-9223372036854775808", false),
            ("9223372036854775807", false),
        ] {
            assert_eq!(Signature::read(&headers(at, "c2ln"), now()).is_ok(), good, "{at}");
        }
    }

    #[test]
    fn a_probe_is_refused_as_such() {
        let headers = headers("1700000000", "WECHATPAY/SIGNTEST/c2ln");
        assert_eq!(Signature::read(&headers, now()).unwrap_err(), NotifyError::Probe);
    }

    #[test]
    fn every_header_has_to_be_there_once() {
        for name in [
            "wechatpay-serial",
            "wechatpay-nonce",
            "wechatpay-timestamp",
            "wechatpay-signature",
        ] {
            let mut without = headers("1700000000", "c2ln");
            without.remove(name);
            assert_eq!(
                Signature::read(&without, now()).unwrap_err(),
                NotifyError::Missing(name)
            );
            let mut twice = headers("1700000000", "c2ln");
            twice.append(name, "x".parse().unwrap());
            assert_eq!(
                Signature::read(&twice, now()).unwrap_err(),
                NotifyError::Missing(name)
            );
        }
    }

    proptest! {
        #[test]
        fn no_headers_make_the_reader_panic(at in "[ -~]{0,30}", signature in "[ -~]{0,60}") {
            let _ = Signature::read(&headers(&at, &signature), now());
        }
    }
}
