//! Trace context on the wire: W3C Trace Context, level 1 (<https://www.w3.org/TR/trace-context/>).
//!
//! `tracestate` is not passed on, which the standard allows.

use std::fmt;
use std::str::FromStr;

use opentelemetry::Context as OtelContext;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tonic::metadata::{MetadataMap, MetadataValue};
use tracing::span::Id;
use tracing::{Dispatch, Span};
use tracing_opentelemetry::{OpenTelemetrySpanExt, get_otel_context};

/// Name of the header.
pub const HEADER: &str = "traceparent";

tokio::task_local! {
    static CURRENT: Traceparent;
}

/// A valid `traceparent`. `Display` writes version 00, which for an incoming version 00 is the same text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    trace_id: [u8; 16],
    parent_id: [u8; 8],
    flags: u8,
}

/// Why a text is not a `traceparent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not `vv-<32 hex>-<16 hex>-<2 hex>`, or longer although of version 00.
    #[error("not of the form vv-<32 hex digits>-<16 hex digits>-<2 hex digits>")]
    Form,
    /// A digit is not one of `0-9a-f`; upper case is not allowed.
    #[error("a digit is not one of 0-9a-f")]
    Digit,
    /// Version ff, which the standard forbids.
    #[error("version ff is forbidden")]
    Version,
    /// Trace id or parent id is all zero.
    #[error("trace id and parent id must not be zero")]
    Zero,
}

impl Traceparent {
    /// Returns the beginning of a new trace, marked as sampled.
    #[must_use]
    pub fn random() -> Self {
        // Zero has a chance of 2^-64; setting one bit excludes it.
        let (mut trace_id, mut parent_id): ([u8; 16], [u8; 8]) = rand::random();
        trace_id[15] |= 1;
        parent_id[7] |= 1;
        Self {
            trace_id,
            parent_id,
            flags: 1,
        }
    }

    /// Returns the trace id as 32 lower-case hex digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        hex(&self.trace_id)
    }

    fn remote(self) -> SpanContext {
        SpanContext::new(
            TraceId::from_bytes(self.trace_id),
            SpanId::from_bytes(self.parent_id),
            TraceFlags::new(self.flags),
            true,
            TraceState::NONE,
        )
    }

    fn of_span(context: &SpanContext) -> Option<Self> {
        context.is_valid().then(|| Self {
            trace_id: context.trace_id().to_bytes(),
            parent_id: context.span_id().to_bytes(),
            flags: context.trace_flags().to_u8(),
        })
    }
}

impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{}-{}-{:02x}",
            hex(&self.trace_id),
            hex(&self.parent_id),
            self.flags
        )
    }
}

impl FromStr for Traceparent {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse_traceparent(text)
    }
}

/// Parses a `traceparent` as the standard says: version 00 exactly, a higher version by its first four fields.
///
/// # Errors
/// [`ParseError`] says which rule is broken.
pub fn parse_traceparent(text: &str) -> Result<Traceparent, ParseError> {
    let bytes = text.as_bytes();
    let dash = |at: usize| bytes.get(at) == Some(&b'-');
    if bytes.len() < 55 || !dash(2) || !dash(35) || !dash(52) || bytes.len() > 55 && !dash(55) {
        return Err(ParseError::Form);
    }
    let [version] = digits(&bytes[0..2])?;
    let trace_id = digits(&bytes[3..35])?;
    let parent_id = digits(&bytes[36..52])?;
    let [flags] = digits(&bytes[53..55])?;
    if version == 0xff {
        return Err(ParseError::Version);
    }
    if version == 0 && bytes.len() != 55 {
        return Err(ParseError::Form);
    }
    if trace_id == [0; 16] || parent_id == [0; 8] {
        return Err(ParseError::Zero);
    }
    // Of a higher version only the flag `sampled` is known.
    let flags = if version == 0 { flags } else { flags & 1 };
    Ok(Traceparent {
        trace_id,
        parent_id,
        flags,
    })
}

/// Reads the trace context of an incoming request. A missing, repeated or invalid header counts as none, as the standard
/// says.
#[must_use]
pub fn extract(headers: &http::HeaderMap) -> Option<Traceparent> {
    let mut values = headers.get_all(HEADER).iter();
    let first = values.next()?;
    if values.next().is_some() {
        return None;
    }
    parse_traceparent(first.to_str().ok()?).ok()
}

/// Writes the current trace context into the metadata of an outgoing call; begins a new trace if there is none.
pub fn inject(metadata: &mut MetadataMap) {
    let parent = current().unwrap_or_else(Traceparent::random).to_string();
    let value = MetadataValue::try_from(parent).expect("a traceparent is ASCII");
    metadata.insert(HEADER, value);
}

/// Returns the current trace context: that of the current span if spans are exported, else that of [`scope`].
#[must_use]
pub fn current() -> Option<Traceparent> {
    let context = Span::current().context();
    Traceparent::of_span(context.span().span_context()).or_else(scoped)
}

/// Returns the text of the current trace context, to be stored or sent.
#[must_use]
pub fn current_traceparent() -> Option<String> {
    current().map(|parent| parent.to_string())
}

/// Runs `work` within the trace `parent`: calls made and lines logged by it belong to that trace. A task spawned by
/// `work` is outside; give it its own scope.
pub async fn scope<F: Future>(parent: Traceparent, work: F) -> F::Output {
    CURRENT.scope(parent, work).await
}

/// Makes `traceparent` the parent of `span`, which must not have been entered yet. Without an exporter, or with an
/// invalid text, nothing happens.
pub fn set_parent_from(span: &Span, traceparent: &str) {
    match parse_traceparent(traceparent) {
        Ok(parent) => set_parent(span, parent),
        Err(error) => tracing::debug!(%error, traceparent, "ignoring an invalid traceparent"),
    }
}

/// Makes `parent` the parent of `span`, which must not have been entered yet. Without an exporter nothing happens.
pub fn set_parent(span: &Span, parent: Traceparent) {
    // The error says that there is no exporter or that the span is filtered out: nothing to do in either case.
    let _ = span.set_parent(OtelContext::new().with_remote_span_context(parent.remote()));
}

/// Gives a span that has begun another name, when more is known than at its beginning. Without an exporter nothing happens.
pub fn rename(span: &Span, name: String) {
    span.context().span().update_name(name);
}

pub(crate) fn scoped() -> Option<Traceparent> {
    CURRENT.try_with(|parent| *parent).ok()
}

/// Returns the trace id of span `id` if spans are exported. For use while an event is being logged, where
/// `Span::current` does not work. The caller must hold no extensions of the span.
pub(crate) fn exported_trace_id(id: &Id, dispatch: &Dispatch) -> Option<String> {
    let context = get_otel_context(id, dispatch)?;
    Traceparent::of_span(context.span().span_context()).map(|parent| parent.trace_id())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn digits<const N: usize>(text: &[u8]) -> Result<[u8; N], ParseError> {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Ok(bytes)
}

fn nibble(digit: u8) -> Result<u8, ParseError> {
    match digit {
        b'0'..=b'9' => Ok(digit - b'0'),
        b'a'..=b'f' => Ok(digit - b'a' + 10),
        _ => Err(ParseError::Digit),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn the_example_of_the_standard_is_read_and_written_back() {
        let parent = parse_traceparent(VALID).unwrap();
        assert_eq!(parent.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!(parent.to_string(), VALID);
    }

    #[test]
    fn each_broken_rule_is_named() {
        let zero_trace = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        let zero_parent = "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01";
        for (text, expected) in [
            ("", ParseError::Form),
            (&VALID[..54], ParseError::Form),
            (&format!("{VALID}-"), ParseError::Form),
            (&format!("{VALID}x"), ParseError::Form),
            (&VALID.replace('-', "_"), ParseError::Form),
            (&VALID.replace('a', "A"), ParseError::Digit),
            (&VALID.replace("0af", "0ag"), ParseError::Digit),
            (&VALID.replacen("00-", "ff-", 1), ParseError::Version),
            (zero_trace, ParseError::Zero),
            (zero_parent, ParseError::Zero),
        ] {
            assert_eq!(parse_traceparent(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_higher_version_is_read_by_its_first_fields() {
        let text = VALID.replacen("00-", "cc-", 1);
        assert_eq!(
            parse_traceparent(&format!("{text}-what-the-future-brings"))
                .unwrap()
                .to_string(),
            VALID
        );
        assert_eq!(parse_traceparent(&text).unwrap().to_string(), VALID);
        assert_eq!(parse_traceparent(&format!("{text}.x")), Err(ParseError::Form));
    }

    #[test]
    fn a_repeated_or_unreadable_header_counts_as_none() {
        let mut headers = http::HeaderMap::new();
        assert_eq!(extract(&headers), None);
        headers.append(HEADER, VALID.parse().unwrap());
        assert_eq!(extract(&headers).unwrap().to_string(), VALID);
        headers.append(HEADER, VALID.parse().unwrap());
        assert_eq!(extract(&headers), None);
        headers.insert(HEADER, http::HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(extract(&headers), None);
    }

    #[tokio::test]
    async fn without_an_exporter_an_incoming_context_goes_on_verbatim() {
        assert_eq!(current_traceparent(), None);
        scope(VALID.parse().unwrap(), async {
            assert_eq!(current_traceparent().as_deref(), Some(VALID));
            let mut metadata = MetadataMap::new();
            inject(&mut metadata);
            assert_eq!(metadata.get(HEADER).unwrap(), VALID);
        })
        .await;
    }

    #[test]
    fn a_call_outside_any_trace_begins_one() {
        let (mut first, mut second) = (MetadataMap::new(), MetadataMap::new());
        inject(&mut first);
        inject(&mut second);
        let text = first.get(HEADER).unwrap().to_str().unwrap();
        assert!(parse_traceparent(text).is_ok(), "{text}");
        assert_ne!(first.get(HEADER), second.get(HEADER));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,80}") {
            let _ = parse_traceparent(&text);
        }

        #[test]
        fn every_valid_value_is_read_and_written_back(trace in 1u128.., parent in 1u64.., flags: u8) {
            let text = format!("00-{trace:032x}-{parent:016x}-{flags:02x}");
            prop_assert_eq!(parse_traceparent(&text).unwrap().to_string(), text);
        }

        #[test]
        fn whatever_is_accepted_is_written_as_a_value_that_is_accepted(
            text in "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[a-z]{0,5})?"
        ) {
            if let Ok(parent) = parse_traceparent(&text) {
                prop_assert_eq!(parse_traceparent(&parent.to_string()), Ok(parent));
            }
        }

        #[test]
        fn one_changed_byte_never_keeps_the_ids(at in 0usize..55, byte in 0u8..128) {
            let mut bytes = VALID.as_bytes().to_vec();
            prop_assume!(bytes[at] != byte);
            bytes[at] = byte;
            let text = String::from_utf8(bytes).unwrap();
            if let Ok(parent) = parse_traceparent(&text) {
                // The version may change without changing the value; nothing else may.
                prop_assert!(at < 2 || parent.to_string() != VALID);
            }
        }
    }
}
