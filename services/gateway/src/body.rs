//! Reads the body of a request, whole and within bounds.

use std::io::Read;

use axum::body::Body;
use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http::request::Parts;
use http::{HeaderMap, Response, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use rpc::error::Reason;

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::Config;
use crate::context::Context;
use crate::edge::OVERLOAD_PAUSE;

/// Of all places for requests, this part is for bodies of nobody that we know, which may come slowly on purpose.
const STRANGERS_PART: usize = 4;

/// Places for the bodies of requests without a user: however slowly they come, the other places are free for everybody else.
#[derive(Debug)]
pub(crate) struct Strangers(Semaphore);

impl Strangers {
    pub(crate) fn new(config: &Config) -> Self {
        let places = (config.max_concurrent / STRANGERS_PART).max(1);
        Self(Semaphore::new(places.min(Semaphore::MAX_PERMITS)))
    }

    /// Takes a place, to be held until the body is there.
    ///
    /// # Errors
    /// The refusal, if there is none.
    pub(crate) fn take(&self, context: &Context) -> Result<SemaphorePermit<'_>, Response<Body>> {
        self.0.try_acquire().map_err(|_| {
            let text = "too many requests without a token at once; try again";
            context.refuse_for(Reason::Overloaded, text, Some(OVERLOAD_PAUSE))
        })
    }
}

/// Reads the body of a request and undoes its compression. A request that says nothing of its body has none.
///
/// # Errors
/// The refusal: not JSON, an unknown encoding, too large, too slow, broken off.
pub(crate) async fn read(
    head: &Parts,
    body: Body,
    config: &Config,
    context: &Context,
) -> Result<Bytes, Response<Body>> {
    let max = config.max_body_bytes;
    let bytes = collect(head, body, config, max, context).await?;
    if bytes.is_empty() {
        return Ok(bytes);
    }
    let refuse = |text: &str| context.refuse(Reason::MediaTypeNotSupported, text);
    if !is_json(&head.headers) {
        return Err(refuse("the body must be application/json; charset=utf-8"));
    }
    match encoding(&head.headers) {
        Some(Encoding::Identity) => Ok(bytes),
        Some(Encoding::Gzip) => match gunzip(&bytes, max) {
            Ok(Some(bytes)) => Ok(bytes),
            Ok(None) => Err(too_large(context, max)),
            Err(_) => Err(context.refuse(Reason::MalformedBody, "the body is not valid gzip")),
        },
        None => Err(refuse("the body must be plain or gzip (Content-Encoding)")),
    }
}

/// Reads the body of a request as it comes.
///
/// # Errors
/// The refusal: larger than `max` bytes, too slow, broken off.
pub(crate) async fn collect(
    head: &Parts,
    body: Body,
    config: &Config,
    max: usize,
    context: &Context,
) -> Result<Bytes, Response<Body>> {
    let announced = head
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > max as u64) {
        return Err(too_large(context, max));
    }
    let collected = tokio::time::timeout(config.body_timeout, Limited::new(body, max).collect());
    match collected.await {
        Err(_) => {
            let text = format!(
                "the body did not arrive within {}",
                humantime_text(config.body_timeout)
            );
            Err(context.refuse(Reason::BodyTimeout, text))
        }
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(context, max)),
        // Nobody may be left to read this.
        Ok(Err(_)) => Err(context.refuse(Reason::MalformedBody, "the body broke off")),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
}

fn too_large(context: &Context, max: usize) -> Response<Body> {
    let text = format!("the body is larger than {max} bytes");
    context.refuse(Reason::PayloadTooLarge, text)
}

fn humantime_text(duration: std::time::Duration) -> String {
    format!("{} s", duration.as_secs())
}

/// `application/json` or `application/…+json`, in UTF-8 if it says so.
fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return false;
    };
    let Ok(text) = value.to_str() else { return false };
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let json = media == "application/json" || media.starts_with("application/") && media.ends_with("+json");
    let utf8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, charset)) if name.trim().eq_ignore_ascii_case("charset") => {
            charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        Some(_) | None => true,
    });
    json && utf8
}

#[derive(Debug, PartialEq, Eq)]
enum Encoding {
    Identity,
    Gzip,
}

fn encoding(headers: &HeaderMap) -> Option<Encoding> {
    let mut values = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(value) = values.next() else {
        return Some(Encoding::Identity);
    };
    let text = value.to_str().ok().filter(|_| values.next().is_none())?;
    match text.trim().to_ascii_lowercase().as_str() {
        "identity" | "" => Some(Encoding::Identity),
        "gzip" | "x-gzip" => Some(Encoding::Gzip),
        _ => None,
    }
}

/// Decompresses at most `max` bytes; `None` if there are more.
fn gunzip(bytes: &[u8], max: usize) -> std::io::Result<Option<Bytes>> {
    let mut plain = Vec::new();
    MultiGzDecoder::new(bytes)
        .take(max as u64 + 1)
        .read_to_end(&mut plain)?;
    Ok((plain.len() <= max).then(|| plain.into()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use http::HeaderValue;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    fn headers(name: header::HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        headers
    }

    #[rstest]
    #[case(&["application/json"], true)]
    #[case(&["Application/JSON; charset=UTF-8"], true)]
    #[case(&["application/json;charset=\"utf-8\""], true)]
    #[case(&["application/merge-patch+json"], true)]
    #[case(&["application/json; charset=latin1"], false)]
    #[case(&["text/plain"], false)]
    #[case(&["application/x-www-form-urlencoded"], false)]
    #[case(&["application/jsonx"], false)]
    #[case(&["application/json", "text/plain"], false)]
    #[case(&[], false)]
    fn a_body_must_say_that_it_is_json(#[case] values: &[&'static str], #[case] good: bool) {
        assert_eq!(is_json(&headers(header::CONTENT_TYPE, values)), good);
    }

    #[rstest]
    #[case(&[], Some(Encoding::Identity))]
    #[case(&["identity"], Some(Encoding::Identity))]
    #[case(&["GZIP"], Some(Encoding::Gzip))]
    #[case(&["br"], None)]
    #[case(&["gzip, gzip"], None)]
    #[case(&["gzip", "gzip"], None)]
    fn one_compression_is_undone(#[case] values: &[&'static str], #[case] expected: Option<Encoding>) {
        assert_eq!(encoding(&headers(header::CONTENT_ENCODING, values)), expected);
    }

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_bomb_is_given_up_at_the_limit() {
        let bomb = gzip(&vec![0; 10_000_000]);
        assert!(bomb.len() < 100_000);
        assert_eq!(gunzip(&bomb, 1000).unwrap(), None);
        assert_eq!(gunzip(&gzip(&[7; 1000]), 1000).unwrap().unwrap().len(), 1000);
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back_and_what_is_cut_is_an_error(
            plain in prop::collection::vec(any::<u8>(), 0..500), cut in 1usize..30
        ) {
            let packed = gzip(&plain);
            prop_assert_eq!(gunzip(&packed, 1000).unwrap().unwrap(), &plain[..]);
            prop_assert!(gunzip(&packed[..packed.len() - cut.min(packed.len())], 1000).is_err() || cut >= packed.len());
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = gunzip(&bytes, 1000);
        }
    }
}
