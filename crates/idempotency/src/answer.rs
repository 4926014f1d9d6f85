//! Answers that are kept.

use ::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Names and values, in their order.
type Fields = Vec<(String, String)>;

/// What is kept of an answer: its status, the headers and trailers that its protocol lists, and its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub(crate) head: Head,
    pub(crate) body: Bytes,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: Fields,
    /// gRPC only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) trailers: Fields,
}

impl Answer {
    /// Makes an answer without trailers. Headers whose names or values HTTP does not allow are left out when it is replayed.
    #[must_use]
    pub fn new(status: u16, headers: Fields, body: impl Into<Bytes>) -> Self {
        let head = Head {
            status,
            headers,
            trailers: Fields::new(),
        };
        Self {
            head,
            body: body.into(),
        }
    }
}

/// Picks the listed fields. One whose value is not visible ASCII is left out.
pub(crate) fn pick(fields: &HeaderMap, names: &[&str]) -> Fields {
    let of = |name: &&str| {
        let name = (*name).to_owned();
        let values: Vec<_> = fields.get_all(&name).iter().cloned().collect();
        values.into_iter().filter_map(move |value| {
            let value = value.to_str().ok()?.to_owned();
            Some((name.clone(), value))
        })
    };
    names.iter().flat_map(of).collect()
}

/// Makes headers of fields again.
pub(crate) fn unpick(fields: &Fields) -> HeaderMap {
    let parsed = |(name, value): &(String, String)| {
        let name: HeaderName = name.parse().ok()?;
        let value: HeaderValue = value.parse().ok()?;
        Some((name, value))
    };
    fields.iter().filter_map(parsed).collect()
}
