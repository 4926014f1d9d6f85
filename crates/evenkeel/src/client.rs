//! Requests to the services, and what their errors mean to the person at the keyboard.

use std::time::Duration;

use rpc::error::{self, Reason};
use rpc::step::ACTOR_HEADER;
use tonic::metadata::MetadataValue;
use tonic::{Code as Grpc, Request, Status};

use crate::exit::{Code, Failure};

/// Calls that only read or write a row are given up after this time.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Builds a request that says who asks and gives up after `bound`.
pub(crate) fn request<T>(message: T, bound: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(bound);
    if let Ok(actor) = MetadataValue::try_from(actor()) {
        request.metadata_mut().insert(ACTOR_HEADER, actor);
    }
    request
}

/// Who acts, for the history: `$EVENKEEL_ACTOR`, else the login name.
pub(crate) fn actor() -> String {
    let set = |name| std::env::var(name).ok().filter(|v: &String| !v.is_empty());
    set("EVENKEEL_ACTOR")
        .or_else(|| set("USER").map(|user| format!("{user} (cli)")))
        .unwrap_or_else(|| "cli".to_owned())
}

/// Tells whether the call did not get an answer from the service itself.
pub(crate) fn is_unreachable(status: &Status) -> bool {
    let transport = matches!(
        status.code(),
        Grpc::Unavailable | Grpc::Cancelled | Grpc::DeadlineExceeded | Grpc::Unknown
    );
    transport && error::info(status).is_none()
}

/// Turns a failed call into what a person needs: reason, message, and what to do next.
pub(crate) fn failure(status: &Status, server: &str) -> Failure {
    let grpc = error::code_name(status.code());
    if let Some(info) = error::info(status) {
        let reason = Reason::ALL.into_iter().find(|r| r.name() == info.reason);
        let code = match reason {
            Some(Reason::SagaChanged) => Code::Changed,
            _ => Code::Failed,
        };
        let failure = Failure::new(code, format!("{}: {}", info.reason, status.message()))
            .detail(format!("{grpc} ({})", info.domain));
        return match reason.and_then(next_step) {
            Some(next) => failure.next(next),
            None => failure,
        };
    }
    if is_unreachable(status) {
        return Failure::unavailable(format!("no answer from {server}"))
            .detail(format!("{grpc}: {}", status.message()))
            .next("start everything with `evenkeel dev`, or name a running server with --server");
    }
    Failure::new(
        Code::Failed,
        format!("{server} answered {grpc}: {}", status.message()),
    )
}

/// What a person does about a reason. `None` where the message says it all.
const fn next_step(reason: Reason) -> Option<&'static str> {
    match reason {
        Reason::InvalidId => Some("ids look like saga_<32 hex digits>; find them with `evenkeel saga list`"),
        Reason::InvalidPageToken => Some("start again without --page-token"),
        Reason::Overloaded => Some("try again in a few seconds; nothing was done"),
        Reason::Unavailable => {
            Some("see what is wrong with `evenkeel doctor`, then repeat: starting twice is safe")
        }
        Reason::Internal => Some("the server's log has the cause; `evenkeel doctor` checks the parts"),
        Reason::SagaNotFound => Some("find it with `evenkeel saga list`"),
        Reason::SagaInputMismatch => Some(
            "take another --business-id, or look at the saga that has it: `evenkeel saga show --type TYPE --business-id ID`",
        ),
        Reason::SagaInputInvalid => Some("the input's type is shown by `evenkeel saga definitions`"),
        Reason::SagaPastCommitPoint => {
            Some("it only goes forward now; follow it with `evenkeel saga watch ID`")
        }
        Reason::SagaEnded => Some("see how it ended with `evenkeel saga show ID`"),
        Reason::SagaChanged => Some("look at it again with `evenkeel saga why ID`, then decide"),
        Reason::ActionNotAllowed => Some("`evenkeel saga why ID` lists what is allowed now"),
        Reason::CompletionTokenInvalid
        | Reason::StepNotWaiting
        | Reason::StepAnswered
        | Reason::StepGivenUp => Some("the saga's history has what was recorded: `evenkeel saga show ID`"),
        Reason::DefinitionNotFound => Some(
            "see what there is with `evenkeel saga definitions`; then `evenkeel saga register FILE --activate`",
        ),
        Reason::DefinitionConflict => Some("raise `version:` in the file and register again"),
        Reason::StepUnknown => Some("the steps are shown by `evenkeel saga definitions`"),
        Reason::QuotaInsufficient => Some("grant some: `evenkeel quota grant USER AMOUNT`"),
        Reason::QuotaAccountNotFound => {
            Some("the first grant opens the account: `evenkeel quota grant USER AMOUNT`")
        }
        Reason::TaskNotFound => Some("list a user's tasks with `evenkeel task list USER`"),
        Reason::FeatureNotFound => Some("see what there is with `evenkeel task features`"),
        Reason::TaskNotCancellable => Some("see how it ended with `evenkeel task show TASK`"),
        Reason::TaskMismatch => Some("take another --request-id"),
        Reason::GrantMismatch => Some("take another --grant-id"),
        Reason::SourceGranted => Some("see it with `evenkeel quota ledger USER`"),
        Reason::RateLimited => Some("wait for as long as the answer says, then repeat"),
        Reason::DeadlineExceeded => Some("look at what came of it, then repeat: starting twice is safe"),
        Reason::Unauthenticated | Reason::TokenInvalid | Reason::TokenExpired | Reason::TokenRevoked => Some(
            "log in again; operators: name the directory with the operator's key with --keys or EVENKEEL_KEYS",
        ),
        Reason::UserNotFound => Some("find the user with `evenkeel user list`"),
        Reason::InvalidArgument
        | Reason::RouteNotFound
        | Reason::MethodNotAllowed
        | Reason::MalformedBody
        | Reason::MediaTypeNotSupported
        | Reason::HeadersTooLarge
        | Reason::UriTooLong
        | Reason::BodyTimeout
        | Reason::OriginNotAllowed
        | Reason::WatchTicketInvalid
        | Reason::IdempotencyKeyInvalid
        | Reason::IdempotencyKeyInUse
        | Reason::IdempotencyKeyReused
        | Reason::IdempotencyUnavailable
        | Reason::PermissionDenied
        | Reason::LoginFailed
        | Reason::RefreshTokenInvalid
        | Reason::RefreshTokenReused
        | Reason::UserBanned
        | Reason::PhoneTaken
        | Reason::ReferrerInvalid
        | Reason::InviteCodeInvalid
        | Reason::PasswordTooWeak
        | Reason::PasswordTooLong
        | Reason::PasswordWrong
        | Reason::SmsCodeInvalid
        | Reason::SmsNotSent
        | Reason::WechatCodeInvalid
        | Reason::WechatUnavailable
        | Reason::SessionNotFound
        | Reason::TooManyWatches
        | Reason::WatchTooSlow
        | Reason::PayloadTooLarge
        | Reason::StepMetadataInvalid
        | Reason::BarrierMismatch
        | Reason::Superseded
        | Reason::ReservationNotFound
        | Reason::ReservationConfirmed
        | Reason::ReservationCancelled
        | Reason::ReservationMismatch
        | Reason::ReservationExpired
        | Reason::SourceClawedBack
        | Reason::ClawbackMismatch
        | Reason::ClawbackUndone
        | Reason::PipelineFailed
        | Reason::PlanNotAvailable
        | Reason::PriceMismatch
        | Reason::OrderNotFound
        | Reason::OrderMismatch
        | Reason::OrderNotPayable
        | Reason::OrderNotCancellable
        | Reason::OrderCancelled
        | Reason::PaymentNotFound
        | Reason::PaymentInProgress
        | Reason::PaymentNotClosable
        | Reason::ChannelNotAvailable
        | Reason::ChannelRefused
        | Reason::RefundNotFound
        | Reason::RefundNotAllowed
        | Reason::RefundTooLarge
        | Reason::RefundInProgress
        | Reason::RefundClosed
        | Reason::CommissionInsufficient
        | Reason::WithdrawalNotFound
        | Reason::CreditMismatch
        | Reason::CaseNotFound
        | Reason::CaseResolved
        | Reason::SettlementNotPossible
        | Reason::StatementNotReady
        | Reason::DifferenceNotFound => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_its_reason_and_what_to_do() {
        let status = Reason::QuotaInsufficient.status("quota.evenkeel", "3 wanted, 1 available");
        insta::assert_snapshot!(failure(&status, "http://x").to_string(), @"
        error: QUOTA_INSUFFICIENT: 3 wanted, 1 available
          code:  FAILED_PRECONDITION (quota.evenkeel)
          next:  grant some: `evenkeel quota grant USER AMOUNT`
        ");
    }

    #[test]
    fn a_silent_server_is_unavailable_not_failed() {
        let failure = failure(&Status::unavailable("tcp connect error"), "http://127.0.0.1:7101");
        assert_eq!(failure.code(), Code::Unavailable);
        assert!(
            failure
                .to_string()
                .contains("no answer from http://127.0.0.1:7101"),
            "{failure}"
        );
    }

    #[test]
    fn an_unavailable_database_is_not_mistaken_for_a_silent_server() {
        let status = Reason::Unavailable.status("saga.evenkeel", "the database is not reachable");
        assert!(!is_unreachable(&status));
    }
}
