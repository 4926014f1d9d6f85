//! The one shape of errors over HTTP: RFC 9457 `application/problem+json`.

use std::collections::BTreeMap;
use std::time::Duration;

use rpc::error::{Reason, info};
use serde::Serialize;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::bad_request::BadRequest;
use crate::lang::Lang;

/// Media type of [`Problem::to_json`].
pub const MEDIA_TYPE: &str = "application/problem+json";
/// Domain of the reasons that the HTTP edge gives itself.
pub const DOMAIN: &str = "gateway.evenkeel";

/// A failure, for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What went wrong; decides the HTTP status.
    pub reason: Reason,
    /// Language of the title.
    pub lang: Lang,
    /// What went wrong this time, in English; the text of the reason, in its language, where that must stay inside.
    pub detail: String,
    /// Who gave the reason, for example `task.evenkeel`.
    pub domain: String,
    /// Id of the HTTP request.
    pub request_id: String,
    /// Further facts.
    pub metadata: BTreeMap<String, String>,
    /// Time after which it makes sense to try again, for `Retry-After`.
    pub retry_after: Option<Duration>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Members<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: u16,
    reason: &'a str,
    domain: &'a str,
    request_id: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    metadata: &'a BTreeMap<String, String>,
}

impl Problem {
    /// Makes a problem that the HTTP edge found itself.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>, lang: Lang, request_id: impl Into<String>) -> Self {
        Self {
            reason,
            lang,
            detail: detail.into(),
            domain: DOMAIN.to_owned(),
            request_id: request_id.into(),
            metadata: BTreeMap::new(),
            retry_after: None,
        }
    }

    /// Makes the problem of a request that cannot be read. Metadata say where: `field`, or `line` and `column`.
    #[must_use]
    pub fn from_bad_request(bad: &BadRequest, lang: Lang, request_id: impl Into<String>) -> Self {
        let mut problem = Self::new(bad.reason, bad.to_string(), lang, request_id);
        if let Some(field) = &bad.field {
            problem.metadata.insert("field".to_owned(), field.clone());
        }
        if let Some(position) = bad.position {
            problem
                .metadata
                .insert("line".to_owned(), position.line.to_string());
            problem
                .metadata
                .insert("column".to_owned(), position.column.to_string());
        }
        problem
    }

    /// Makes the problem of a call that failed.
    ///
    /// A status from our services has `ErrorInfo`; its reason, message and metadata are shown. Without it the status comes
    /// from a transport or a library: its code gives the reason, and its message, which may name hosts, stays inside. So
    /// does everything about INTERNAL, UNKNOWN and DATA_LOSS.
    #[must_use]
    pub fn from_status(status: &Status, lang: Lang, request_id: impl Into<String>) -> Self {
        let hidden = matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss);
        let known = info(status)
            .filter(|_| !hidden)
            .and_then(|info| Some((Reason::by_name(&info.reason)?, info)));
        let mut problem = match known {
            Some((reason, info)) => Self {
                domain: info.domain,
                metadata: info.metadata.into_iter().collect(),
                ..Self::new(reason, status.message(), lang, request_id)
            },
            None => {
                let reason = by_code(status.code());
                Self::new(reason, title(reason, lang), lang, request_id)
            }
        };
        if problem.detail.is_empty() {
            title(problem.reason, lang).clone_into(&mut problem.detail);
        }
        problem.retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        problem
    }

    /// Adds a fact for machines; one of the same name is replaced.
    #[must_use]
    pub fn with_fact(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// Returns the HTTP status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.reason.http_status()
    }

    /// Returns the value of `Retry-After`: whole seconds, rounded up, at least 1.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let rounded = |delay: Duration| {
            delay
                .as_secs()
                .saturating_add(u64::from(delay.subsec_nanos() > 0))
        };
        self.retry_after.map(|delay| rounded(delay).max(1))
    }

    /// Writes the body.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let members = Members {
            r#type: format!("/errors/{}", self.reason.name()),
            title: title(self.reason, self.lang),
            status: self.status(),
            detail: &self.detail,
            code: self.reason.number(),
            reason: self.reason.name(),
            domain: &self.domain,
            request_id: &self.request_id,
            metadata: &self.metadata,
        };
        serde_json::to_vec(&members).expect("texts and numbers are JSON")
    }
}

const fn title(reason: Reason, lang: Lang) -> &'static str {
    match lang {
        Lang::En => reason.text_en(),
        Lang::ZhCn => reason.text_zh(),
    }
}

/// Returns the nearest reason for a status that carries none.
const fn by_code(code: Code) -> Reason {
    match code {
        Code::InvalidArgument | Code::OutOfRange | Code::FailedPrecondition | Code::AlreadyExists => {
            Reason::InvalidArgument
        }
        Code::NotFound => Reason::RouteNotFound,
        // tonic reports its own timeouts as CANCELLED.
        Code::DeadlineExceeded | Code::Cancelled => Reason::DeadlineExceeded,
        Code::PermissionDenied => Reason::PermissionDenied,
        Code::Unauthenticated => Reason::Unauthenticated,
        Code::ResourceExhausted => Reason::Overloaded,
        // A service that does not have the method yet is about to be replaced by one that does.
        Code::Unavailable | Code::Aborted | Code::Unimplemented => Reason::Unavailable,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => Reason::Internal,
    }
}
