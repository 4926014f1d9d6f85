//! What is counted: decisions, by what was decided and about whom. Both are closed sets.

use metrics::{counter, describe_counter};

use crate::error::{Error, Refusal};

const DECISIONS: &str = "auth_decisions_total";
/// Kind of a caller whose token is not believed.
pub(crate) const UNKNOWN: &str = "unknown";

/// Describes what is counted; again does no harm.
pub(crate) fn describe() {
    describe_counter!(
        DECISIONS,
        "Calls let in or refused, by decision and kind of caller."
    );
}

pub(crate) fn allowed(kind: &'static str) {
    counter!(DECISIONS, "decision" => "allowed", "kind" => kind).increment(1);
}

pub(crate) fn refused(refusal: &Refusal, kind: &'static str) {
    let decision = match refusal {
        Refusal::Anonymous => "unauthenticated",
        Refusal::Token(Error::Expired) => "token_expired",
        Refusal::Token(Error::KeysUnavailable) | Refusal::EpochUnknown => "unavailable",
        Refusal::Header | Refusal::Token(_) => "token_invalid",
        Refusal::Revoked => "token_revoked",
        Refusal::Denied(_) => "permission_denied",
        Refusal::NoMethod => "no_method",
    };
    counter!(DECISIONS, "decision" => decision, "kind" => kind).increment(1);
}
