//! What a gRPC answer says about the operation.
//!
//! The outcome belongs to the operation, not to the attempt (DESIGN section 4, rule 1). An answer is a refusal only
//! if the participant itself said so in its own name; everything else that is not OK leaves the outcome unknown,
//! timeouts and cancellations included.

use tonic::{Code, Status};

use crate::error::{self, Reason};
use crate::step;

/// What a failed call says about the operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The participant said no, in its own name.
    Refused {
        /// Its barrier has stored the "no": earlier attempts had no effect either, and later ones will have none.
        stored: bool,
    },
    /// The operation may or may not have happened.
    Unknown,
    /// The call never left: no connection could be made. Nothing happened.
    Unsent,
    /// The caller is not let in, or the method is not there. A person must mend it; hurrying does not help.
    Misconfigured,
    /// The participant has seen a compensation of this operation already: the caller's state is stale.
    Superseded,
}

/// Classifies a failed call to a participant whose reasons live in `domain`.
#[must_use]
pub fn classify(status: &Status, domain: &str) -> Verdict {
    let info = error::info(status);
    if let Some(info) = &info {
        if info.reason == Reason::Superseded.name() {
            return Verdict::Superseded;
        }
        if info.domain == domain && refusing_code(status.code()) && !about_the_call(&info.reason) {
            return Verdict::Refused {
                stored: step::is_stored(status.metadata()),
            };
        }
    }
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented => Verdict::Misconfigured,
        Code::Unavailable if never_left(status) => Verdict::Unsent,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => Verdict::Unknown,
    }
}

/// Codes that can carry a definite "no". The others speak of the attempt, whatever details they carry.
const fn refusing_code(code: Code) -> bool {
    match code {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange => true,
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Unimplemented
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

/// Reasons that blame the call itself, and so say nothing about the operation.
fn about_the_call(reason: &str) -> bool {
    reason == Reason::StepMetadataInvalid.name()
}

/// Tells whether the request was certainly not sent: the connection could not be made. Only our own client puts such a
/// cause into a status; nothing on the wire can.
fn never_left(status: &Status) -> bool {
    std::iter::successors(std::error::Error::source(status), |error| error.source())
        .any(|error| error.is::<tonic::ConnectError>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: &str = "quota.evenkeel";

    #[test]
    fn a_no_in_the_participants_own_name_is_a_refusal() {
        let status = Reason::QuotaInsufficient.status(DOMAIN, "no");
        assert_eq!(classify(&status, DOMAIN), Verdict::Refused { stored: false });
    }

    #[test]
    fn a_stored_no_is_marked() {
        let mut status = Reason::QuotaInsufficient.status(DOMAIN, "no");
        step::set_stored(status.metadata_mut());
        assert_eq!(classify(&status, DOMAIN), Verdict::Refused { stored: true });
    }

    #[test]
    fn a_no_in_another_name_leaves_the_outcome_unknown() {
        let status = Reason::QuotaInsufficient.status("proxy.example", "no");
        assert_eq!(classify(&status, DOMAIN), Verdict::Unknown);
    }

    #[test]
    fn a_bare_status_leaves_the_outcome_unknown() {
        for code in [
            Code::Cancelled,
            Code::DeadlineExceeded,
            Code::NotFound,
            Code::FailedPrecondition,
            Code::Internal,
            Code::Unavailable,
            Code::ResourceExhausted,
        ] {
            assert_eq!(
                classify(&Status::new(code, "x"), DOMAIN),
                Verdict::Unknown,
                "{code:?}"
            );
        }
    }

    #[test]
    fn an_overloaded_participant_has_not_refused() {
        let status = Reason::Overloaded.status(DOMAIN, "later");
        assert_eq!(classify(&status, DOMAIN), Verdict::Unknown);
    }

    #[test]
    fn locked_doors_and_missing_methods_are_for_a_person() {
        for code in [Code::Unauthenticated, Code::PermissionDenied, Code::Unimplemented] {
            assert_eq!(
                classify(&Status::new(code, "x"), DOMAIN),
                Verdict::Misconfigured,
                "{code:?}"
            );
        }
    }

    #[test]
    fn superseded_is_not_a_refusal() {
        let status = Reason::Superseded.status(DOMAIN, "late");
        assert_eq!(classify(&status, DOMAIN), Verdict::Superseded);
    }
}
