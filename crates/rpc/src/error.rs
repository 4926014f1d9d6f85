//! The one catalogue of reason codes.
//!
//! A failure leaves a service as a `google.rpc.Status` with exactly one `google.rpc.ErrorInfo` (AIP-193): `reason` is
//! a name from [`Reason`], `domain` names the service (`quota.evenkeel`). Each reason has exactly one gRPC code and
//! one HTTP status; `docs/errors.md` lists them.

use std::collections::HashMap;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// A reason code, the stable name of what went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A field is absent, malformed or out of range; the message names it.
    InvalidArgument,
    /// An id is not of the form `<prefix>_<32 hex digits>`.
    InvalidId,
    /// A page token was not made by this method.
    InvalidPageToken,
    /// A payload is above its stated limit.
    PayloadTooLarge,
    /// The service cannot take more work now; nothing was done.
    Overloaded,
    /// The database or another part is not reachable; the effect may or may not have happened.
    Unavailable,
    /// A defect of ours; details are in the log only.
    Internal,

    /// Step metadata is absent or malformed.
    StepMetadataInvalid,
    /// The same idempotency key came with another request.
    BarrierMismatch,
    /// A compensation came first; the caller's view of the saga is stale.
    Superseded,

    /// There is no such saga.
    SagaNotFound,
    /// The business key is taken by a saga with another input.
    SagaInputMismatch,
    /// The input does not fit the definition's input type.
    SagaInputInvalid,
    /// The pivot may have started; the saga only goes forward now.
    SagaPastCommitPoint,
    /// The saga has ended already.
    SagaEnded,
    /// The saga is not as it was when the operator decided.
    SagaChanged,
    /// The saga does not allow this operator's action as it stands.
    ActionNotAllowed,
    /// The completion token was tampered with, or is not ours.
    CompletionTokenInvalid,
    /// The step was not called yet, so nothing can complete it.
    StepNotWaiting,
    /// The outcome of the step is recorded already.
    StepAnswered,
    /// The saga unwinds and no longer waits for the step.
    StepGivenUp,
    /// No active definition has this name.
    DefinitionNotFound,
    /// The definition has mistakes; they are listed.
    DefinitionInvalid,
    /// This version is registered with other content.
    DefinitionConflict,
    /// The definition has no step of this name.
    StepUnknown,

    /// Not enough quota, or no account.
    QuotaInsufficient,
    /// The user has no quota account.
    QuotaAccountNotFound,
    /// There is no reservation for this task.
    ReservationNotFound,
    /// The reservation is consumed already.
    ReservationConfirmed,
    /// The reservation was given back already.
    ReservationCancelled,
    /// The task id is taken by a reservation of another user or amount.
    ReservationMismatch,
    /// The grant id is taken by a grant of another user or amount.
    GrantMismatch,

    /// There is no such task.
    TaskNotFound,
    /// There is no such feature.
    FeatureNotFound,
    /// The task's work is done; it cannot be cancelled any more.
    TaskNotCancellable,
    /// The request id is taken by a task with other content.
    TaskMismatch,
    /// A step of the pipeline failed for good.
    PipelineFailed,
}

impl Reason {
    /// Every reason, for documentation and tests.
    pub const ALL: [Self; 37] = [
        Self::InvalidArgument,
        Self::InvalidId,
        Self::InvalidPageToken,
        Self::PayloadTooLarge,
        Self::Overloaded,
        Self::Unavailable,
        Self::Internal,
        Self::StepMetadataInvalid,
        Self::BarrierMismatch,
        Self::Superseded,
        Self::SagaNotFound,
        Self::SagaInputMismatch,
        Self::SagaInputInvalid,
        Self::SagaPastCommitPoint,
        Self::SagaEnded,
        Self::SagaChanged,
        Self::ActionNotAllowed,
        Self::CompletionTokenInvalid,
        Self::StepNotWaiting,
        Self::StepAnswered,
        Self::StepGivenUp,
        Self::DefinitionNotFound,
        Self::DefinitionInvalid,
        Self::DefinitionConflict,
        Self::StepUnknown,
        Self::QuotaInsufficient,
        Self::QuotaAccountNotFound,
        Self::ReservationNotFound,
        Self::ReservationConfirmed,
        Self::ReservationCancelled,
        Self::ReservationMismatch,
        Self::GrantMismatch,
        Self::TaskNotFound,
        Self::FeatureNotFound,
        Self::TaskNotCancellable,
        Self::TaskMismatch,
        Self::PipelineFailed,
    ];

    /// Returns the name on the wire, SCREAMING_SNAKE_CASE.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.row().0
    }

    /// Returns the one gRPC code of this reason.
    #[must_use]
    pub const fn code(self) -> Code {
        self.row().1
    }

    /// Returns the one HTTP status of this reason.
    #[must_use]
    pub const fn http_status(self) -> u16 {
        self.row().2
    }

    /// Returns the Chinese text shown to end users.
    #[must_use]
    pub const fn text_zh(self) -> &'static str {
        self.row().3
    }

    const fn row(self) -> (&'static str, Code, u16, &'static str) {
        match self {
            Self::InvalidArgument => ("INVALID_ARGUMENT", Code::InvalidArgument, 400, "参数错误"),
            Self::InvalidId => ("INVALID_ID", Code::InvalidArgument, 400, "编号格式错误"),
            Self::InvalidPageToken => ("INVALID_PAGE_TOKEN", Code::InvalidArgument, 400, "分页标记无效"),
            Self::PayloadTooLarge => ("PAYLOAD_TOO_LARGE", Code::InvalidArgument, 413, "内容过大"),
            Self::Overloaded => ("OVERLOADED", Code::ResourceExhausted, 429, "系统繁忙,请稍后再试"),
            Self::Unavailable => ("UNAVAILABLE", Code::Unavailable, 503, "服务暂不可用,请稍后再试"),
            Self::Internal => ("INTERNAL", Code::Internal, 500, "系统错误"),
            Self::StepMetadataInvalid => (
                "STEP_METADATA_INVALID",
                Code::InvalidArgument,
                400,
                "步骤元数据错误",
            ),
            Self::BarrierMismatch => ("BARRIER_MISMATCH", Code::Aborted, 409, "重复请求内容不一致"),
            Self::Superseded => ("SUPERSEDED", Code::Aborted, 409, "操作已被撤销"),
            Self::SagaNotFound => ("SAGA_NOT_FOUND", Code::NotFound, 404, "流程不存在"),
            Self::SagaInputMismatch => (
                "SAGA_INPUT_MISMATCH",
                Code::AlreadyExists,
                409,
                "业务编号已被其他内容占用",
            ),
            Self::SagaInputInvalid => ("SAGA_INPUT_INVALID", Code::InvalidArgument, 400, "流程输入错误"),
            Self::SagaPastCommitPoint => (
                "SAGA_PAST_COMMIT_POINT",
                Code::FailedPrecondition,
                409,
                "流程已无法取消",
            ),
            Self::SagaEnded => ("SAGA_ENDED", Code::FailedPrecondition, 409, "流程已结束"),
            Self::SagaChanged => ("SAGA_CHANGED", Code::Aborted, 409, "流程状态已变化"),
            Self::ActionNotAllowed => (
                "ACTION_NOT_ALLOWED",
                Code::FailedPrecondition,
                409,
                "当前状态不允许此操作",
            ),
            Self::CompletionTokenInvalid => (
                "COMPLETION_TOKEN_INVALID",
                Code::PermissionDenied,
                403,
                "完成凭证无效",
            ),
            Self::StepNotWaiting => ("STEP_NOT_WAITING", Code::FailedPrecondition, 409, "步骤尚未开始"),
            Self::StepAnswered => ("STEP_ANSWERED", Code::FailedPrecondition, 409, "步骤已有结果"),
            Self::StepGivenUp => ("STEP_GIVEN_UP", Code::FailedPrecondition, 409, "步骤已放弃"),
            Self::DefinitionNotFound => ("DEFINITION_NOT_FOUND", Code::NotFound, 404, "流程定义不存在"),
            Self::DefinitionInvalid => ("DEFINITION_INVALID", Code::InvalidArgument, 400, "流程定义有误"),
            Self::DefinitionConflict => (
                "DEFINITION_CONFLICT",
                Code::AlreadyExists,
                409,
                "该版本已登记其他内容",
            ),
            Self::StepUnknown => ("STEP_UNKNOWN", Code::InvalidArgument, 400, "步骤不存在"),
            Self::QuotaInsufficient => (
                "QUOTA_INSUFFICIENT",
                Code::FailedPrecondition,
                403,
                "配额不足,请续费",
            ),
            Self::QuotaAccountNotFound => ("QUOTA_ACCOUNT_NOT_FOUND", Code::NotFound, 404, "配额账户不存在"),
            Self::ReservationNotFound => ("RESERVATION_NOT_FOUND", Code::NotFound, 404, "预留不存在"),
            Self::ReservationConfirmed => (
                "RESERVATION_CONFIRMED",
                Code::FailedPrecondition,
                409,
                "预留已确认",
            ),
            Self::ReservationCancelled => (
                "RESERVATION_CANCELLED",
                Code::FailedPrecondition,
                409,
                "预留已取消",
            ),
            Self::ReservationMismatch => (
                "RESERVATION_MISMATCH",
                Code::AlreadyExists,
                409,
                "任务编号已被其他预留占用",
            ),
            Self::GrantMismatch => (
                "GRANT_MISMATCH",
                Code::AlreadyExists,
                409,
                "发放编号已被其他内容占用",
            ),
            Self::TaskNotFound => ("TASK_NOT_FOUND", Code::NotFound, 404, "任务不存在"),
            Self::FeatureNotFound => ("FEATURE_NOT_FOUND", Code::NotFound, 404, "功能不存在"),
            Self::TaskNotCancellable => (
                "TASK_NOT_CANCELLABLE",
                Code::FailedPrecondition,
                409,
                "任务已无法取消",
            ),
            Self::TaskMismatch => (
                "TASK_MISMATCH",
                Code::AlreadyExists,
                409,
                "请求编号已被其他任务占用",
            ),
            Self::PipelineFailed => ("PIPELINE_FAILED", Code::FailedPrecondition, 422, "任务执行失败"),
        }
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
