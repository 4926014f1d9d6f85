//! The one catalogue of reason codes.
//!
//! A failure leaves a service as a `google.rpc.Status` with exactly one `google.rpc.ErrorInfo` (AIP-193): `reason` is
//! a name from [`Reason`], `domain` names the service (`quota.evenkeel`). Each reason has exactly one gRPC code and
//! one HTTP status; `docs/errors.md` is made of them.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

mod catalogue;
mod declare;

pub use catalogue::Reason;

/// Reasons of one area, with numbers of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Title, for people.
    pub title: &'static str,
    /// Its numbers are above this one, below that of the next group.
    pub first_number: u16,
    /// Who answers with these reasons, in Markdown.
    pub raised_by: &'static str,
}

impl Reason {
    /// Returns the name on the wire, SCREAMING_SNAKE_CASE.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Returns the number of this reason, for clients that want numbers. Never given to another reason.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.row().number
    }

    /// Returns the one gRPC code of this reason.
    #[must_use]
    pub const fn code(self) -> Code {
        self.row().code
    }

    /// Returns the one HTTP status of this reason.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        self.row().http_status
    }

    /// Returns the Chinese (zh-CN) text shown to end users.
    #[must_use]
    pub const fn text_zh(self) -> &'static str {
        self.row().text_zh
    }

    /// Returns the English text shown to end users.
    #[must_use]
    pub const fn text_en(self) -> &'static str {
        self.row().text_en
    }

    /// Returns what it means, one or two sentences in Markdown.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        self.row().meaning.trim_ascii()
    }

    /// Returns what a caller does about it.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        self.row().advice
    }

    /// Returns the group it belongs to.
    #[must_use]
    pub const fn group(self) -> Group {
        self.row().group
    }

    /// Returns the name of the variant.
    #[must_use]
    pub const fn variant(self) -> &'static str {
        self.row().variant
    }

    /// Finds a reason by its name on the wire.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    /// Builds the status that leaves a service: code and reason from the catalogue, `domain` of the service.
    ///
    /// `message` is read by people; it must not hold internals or secrets.
    #[must_use]
    pub fn status(self, domain: &str, message: impl Into<String>) -> Status {
        self.status_with(domain, message, HashMap::new())
    }

    /// Builds the status with extra machine-readable facts in `ErrorInfo.metadata`.
    #[must_use]
    pub fn status_with(
        self,
        domain: &str,
        message: impl Into<String>,
        facts: HashMap<String, String>,
    ) -> Status {
        let details = ErrorDetails::with_error_info(self.name(), domain, facts);
        Status::with_error_details(self.code(), message, details)
    }
}

/// `ErrorInfo` as read from a status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Reason code of the sender.
    pub reason: String,
    /// Who defines the reason.
    pub domain: String,
    /// Extra facts.
    pub metadata: HashMap<String, String>,
}

/// Reads the `ErrorInfo` of a status, if it carries one. Malformed details count as absent.
#[must_use]
pub fn info(status: &Status) -> Option<Info> {
    status.get_details_error_info().map(|i| Info {
        reason: i.reason,
        domain: i.domain,
        metadata: i.metadata,
    })
}

/// Returns a gRPC code by its name in the protocol, for example `FAILED_PRECONDITION`.
#[must_use]
pub const fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_name_of_its_own() {
        let names: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.name()).collect();
        assert_eq!(names.len(), Reason::ALL.len());
        let numbers: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|r| r.number()).collect();
        assert_eq!(numbers.len(), Reason::ALL.len());
        assert!(Reason::ALL.iter().all(|r| Reason::by_name(r.name()) == Some(*r)));
    }

    #[test]
    fn every_reason_has_a_number_of_its_group() {
        let groups: Vec<Group> = Reason::ALL.iter().map(|reason| reason.group()).collect();
        assert!(groups.is_sorted_by_key(|group| group.first_number));
        for reason in Reason::ALL {
            let first = reason.group().first_number;
            let next = groups
                .iter()
                .map(|group| group.first_number)
                .find(|other| *other > first);
            let within = first..next.unwrap_or(u16::MAX);
            assert!(within.contains(&reason.number()), "{reason:?}");
        }
    }

    #[test]
    fn every_reason_says_what_it_means_and_what_to_do() {
        for reason in Reason::ALL {
            for text in [reason.meaning(), reason.advice()] {
                assert!(text.ends_with('.') && !text.contains('|'), "{reason:?}: {text}");
            }
            assert!(
                !reason.text_en().is_empty() && !reason.text_zh().is_ascii(),
                "{reason:?}"
            );
        }
    }

    #[test]
    fn reason_and_domain_survive_the_wire() {
        let status = Reason::QuotaInsufficient.status("quota.evenkeel", "3 wanted, 1 available");
        assert_eq!(status.code(), Code::FailedPrecondition);
        let info = info(&status).unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("QUOTA_INSUFFICIENT", "quota.evenkeel")
        );
    }

    #[test]
    fn a_status_without_details_has_no_reason() {
        assert_eq!(info(&Status::internal("boom")), None);
        let garbage = Status::with_details(Code::Internal, "boom", vec![0xff, 0x00, 0x13].into());
        assert_eq!(info(&garbage), None);
    }
}
