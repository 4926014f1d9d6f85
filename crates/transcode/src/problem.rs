//! Errors as `application/problem+json` (RFC 9457), from the one catalogue of reasons.

use std::collections::BTreeMap;
use std::time::Duration;

use rpc::error::{self, Reason};
use serde_json::json;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Media type of problems.
pub const CONTENT_TYPE: &str = "application/problem+json";
/// Domain of what the HTTP side says itself.
pub const DOMAIN: &str = "gateway.evenkeel";
/// Languages of `Accept-Language` that are looked at.
const MAX_LANGUAGES: usize = 16;

/// A language that titles are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Chinese as in mainland China.
    ZhCn,
}

impl Lang {
    /// Chooses by `Accept-Language` (RFC 9110, 12.5.4); English if nothing fits.
    #[must_use]
    pub fn negotiate(accepted: Option<&str>) -> Self {
        let mut best = (0.0, Self::En);
        for part in accepted.unwrap_or("").split(',').take(MAX_LANGUAGES) {
            let mut fields = part.split(';');
            let range = fields.next().unwrap_or("").trim();
            let weight = fields.find_map(|field| field.trim().strip_prefix("q=")?.parse::<f32>().ok());
            let weight = weight.unwrap_or(1.0).clamp(0.0, 1.0);
            let primary = range.split('-').next().unwrap_or("");
            let lang = match primary.to_ascii_lowercase().as_str() {
                "zh" => Self::ZhCn,
                "en" | "*" => Self::En,
                _ => continue,
            };
            if weight > best.0 {
                best = (weight, lang);
            }
        }
        best.1
    }

    /// Returns its tag, for `Content-Language`.
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::ZhCn => "zh-CN",
        }
    }
}

/// One error, for a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What went wrong.
    pub reason: Reason,
    detail: String,
    domain: String,
    facts: BTreeMap<String, String>,
    retry_after: Option<Duration>,
}

impl Problem {
    /// Makes an error of the HTTP side itself.
    #[must_use]
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self {
            reason,
            detail: detail.into(),
            domain: DOMAIN.to_owned(),
            facts: BTreeMap::new(),
            retry_after: None,
        }
    }

    /// Makes an error of what a service answered. Texts of defects stay inside.
    #[must_use]
    pub fn from_status(status: &Status) -> Self {
        let info = error::info(status);
        let known = info.as_ref().and_then(|info| Reason::by_name(&info.reason));
        let reason = known.unwrap_or_else(|| by_code(status.code()));
        let hidden = matches!(status.code(), Code::Internal | Code::Unknown | Code::DataLoss);
        // A status without a reason is a library's; its text is not for clients.
        let detail = if hidden || info.is_none() {
            String::new()
        } else {
            status.message().to_owned()
        };
        let (domain, facts) = info.map_or_else(
            || (DOMAIN.to_owned(), BTreeMap::new()),
            |info| (info.domain, info.metadata.into_iter().collect()),
        );
        let retry = status
            .get_details_retry_info()
            .and_then(|retry| retry.retry_delay);
        Self {
            reason,
            detail,
            domain,
            facts: if hidden { BTreeMap::new() } else { facts },
            retry_after: retry,
        }
    }

    /// Adds a fact for machines.
    #[must_use]
    pub fn with_fact(mut self, name: &str, value: impl Into<String>) -> Self {
        self.facts.insert(name.to_owned(), value.into());
        self
    }

    /// Says when to try again.
    #[must_use]
    pub const fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// Returns the HTTP status.
    #[must_use]
    pub const fn http_status(&self) -> u16 {
        self.reason.http_status()
    }

    /// Returns the value of `Retry-After` in whole seconds, at least 1.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u64> {
        let after = self.retry_after?;
        Some(
            after
                .as_secs()
                .saturating_add(u64::from(after.subsec_nanos() > 0))
                .max(1),
        )
    }

    /// Writes the body.
    #[must_use]
    pub fn to_json(&self, lang: Lang, request_id: &str) -> Vec<u8> {
        let title = match lang {
            Lang::En => self.reason.text_en(),
            Lang::ZhCn => self.reason.text_zh(),
        };
        let mut body = json!({
            "type": format!("/errors/{}", self.reason.name()),
            "title": title,
            "status": self.http_status(),
            "code": self.reason.number(),
            "reason": self.reason.name(),
            "domain": self.domain,
            "requestId": request_id,
        });
        if !self.detail.is_empty() {
            body["detail"] = self.detail.as_str().into();
        }
        if !self.facts.is_empty() {
            body["metadata"] = json!(self.facts);
        }
        body.to_string().into_bytes()
    }
}

/// What a status without one of our reasons means: most come from the transport.
const fn by_code(code: Code) -> Reason {
    match code {
        Code::InvalidArgument | Code::OutOfRange => Reason::InvalidArgument,
        Code::DeadlineExceeded | Code::Cancelled => Reason::DeadlineExceeded,
        Code::NotFound => Reason::RouteNotFound,
        Code::PermissionDenied => Reason::PermissionDenied,
        Code::Unauthenticated => Reason::Unauthenticated,
        Code::ResourceExhausted => Reason::Overloaded,
        Code::Unavailable => Reason::Unavailable,
        Code::Unimplemented => Reason::MethodNotAllowed,
        Code::Ok
        | Code::Unknown
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::Internal
        | Code::DataLoss => Reason::Internal,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn body(problem: &Problem, lang: Lang) -> Value {
        serde_json::from_slice(&problem.to_json(lang, "r-1")).unwrap()
    }

    #[test]
    fn a_refusal_is_shown_with_its_facts_in_both_languages() {
        let status = Reason::QuotaInsufficient.status_with(
            "quota.evenkeel",
            "3 wanted, 1 available",
            [("available".to_owned(), "1".to_owned())].into(),
        );
        let problem = Problem::from_status(&status);
        assert_eq!(problem.http_status(), 403);
        let english = body(&problem, Lang::En);
        assert_eq!(english["title"], "Not enough quota; please renew");
        assert_eq!(english["detail"], "3 wanted, 1 available");
        assert_eq!(english["metadata"]["available"], "1");
        assert_eq!(english["type"], "/errors/QUOTA_INSUFFICIENT");
        assert_eq!(
            (&english["code"], &english["requestId"]),
            (&3001.into(), &"r-1".into())
        );
        assert_eq!(body(&problem, Lang::ZhCn)["title"], "配额不足,请续费");
    }

    #[test]
    fn texts_of_defects_and_of_libraries_stay_inside() {
        let defect = Reason::Internal.status("task.evenkeel", "column x does not exist");
        let library = Status::unavailable("tcp connect error: 10.0.0.7:7103");
        for (status, reason) in [
            (defect, "INTERNAL"),
            (library, "UNAVAILABLE"),
            (Status::unknown("h2"), "INTERNAL"),
        ] {
            let shown = body(&Problem::from_status(&status), Lang::En);
            assert_eq!(shown["reason"], reason);
            assert_eq!(shown.get("detail"), None);
        }
    }

    #[test]
    fn every_reason_survives_the_way_through_a_service() {
        for reason in Reason::ALL {
            let problem = Problem::from_status(&reason.status("x.evenkeel", "m"));
            assert_eq!(problem.reason, reason);
            assert!((400..600).contains(&problem.http_status()));
        }
    }

    #[test]
    fn waiting_is_told_in_whole_seconds() {
        let problem = Problem::new(Reason::RateLimited, "").retry_after(Duration::from_millis(1_200));
        assert_eq!(problem.retry_after_seconds(), Some(2));
        assert_eq!(Problem::new(Reason::Internal, "").retry_after_seconds(), None);
    }

    #[test]
    fn languages_are_chosen_by_weight() {
        let of = |text| Lang::negotiate(Some(text));
        assert_eq!(of("zh-CN,zh;q=0.9,en;q=0.8"), Lang::ZhCn);
        assert_eq!(of("en-US,zh;q=0.9"), Lang::En);
        assert_eq!(of("fr, zh-TW;q=0.5"), Lang::ZhCn);
        assert_eq!(of("zh;q=0, en;q=0.1"), Lang::En);
        for odd in ["", ";;;q=,", "q=1", "zh;q=NaN", &",".repeat(10_000)] {
            let _ = of(odd);
        }
        assert_eq!(Lang::negotiate(None), Lang::En);
    }
}
