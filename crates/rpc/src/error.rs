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
    // Everywhere: numbers from 1000.
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
    /// The time allowed has passed; the effect may or may not have happened.
    DeadlineExceeded,
    /// A limit on how often is reached; `RetryInfo` says when it is over.
    RateLimited,

    // HTTP edge: numbers from 1100.
    /// No route has this path.
    RouteNotFound,
    /// The path exists, with other methods; `Allow` lists them.
    MethodNotAllowed,
    /// The body is not UTF-8, not JSON, or has a key twice.
    MalformedBody,
    /// The body is not `application/json`, or has an unknown encoding.
    MediaTypeNotSupported,
    /// The headers together are above their limit.
    HeadersTooLarge,
    /// Path and query are above their limit.
    UriTooLong,
    /// The body did not arrive in time; nothing was done.
    BodyTimeout,
    /// A browser on a site that is not listed wants to watch.
    OriginNotAllowed,
    /// The ticket to watch is unknown, was used, or has expired.
    WatchTicketInvalid,

    // Idempotency keys: numbers from 1200.
    /// The key is not 1 to 255 printable ASCII characters, or came twice.
    IdempotencyKeyInvalid,
    /// The first request with this key has not ended.
    IdempotencyKeyInUse,
    /// The key was used with another method, route or body.
    IdempotencyKeyReused,
    /// The store of keys does not answer; repeating the request with the same key is safe.
    IdempotencyUnavailable,

    // Who is calling: numbers from 1300.
    /// The method needs a token and there is none.
    Unauthenticated,
    /// The token is malformed, tampered with, of an unknown key, or for another audience.
    TokenInvalid,
    /// The token was good and has expired; refresh it.
    TokenExpired,
    /// The role or state of the user has changed since the token was made; refresh it.
    TokenRevoked,
    /// The caller is known and may not call this method, or not for this user.
    PermissionDenied,

    // Accounts: numbers from 2000.
    /// Unknown phone number, wrong password, or wrong, used or expired code.
    LoginFailed,
    /// The refresh token is malformed, expired, or its session has ended.
    RefreshTokenInvalid,
    /// A refresh token was used a second time; its session is revoked.
    RefreshTokenReused,
    /// There is no such user.
    UserNotFound,
    /// The user is banned.
    UserBanned,
    /// There is a user with this phone number.
    PhoneTaken,
    /// The referrer does not exist, is not active, or would refer itself.
    ReferrerInvalid,
    /// Nobody has this invite code.
    InviteCodeInvalid,
    /// The password is shorter than 8 characters or one of the 10,000 most common.
    PasswordTooWeak,
    /// The password is longer than the 72 bytes that bcrypt reads.
    PasswordTooLong,
    /// The old password is wrong.
    PasswordWrong,
    /// The code is wrong, used, expired, or for another purpose.
    SmsCodeInvalid,
    /// The SMS provider did not take the message.
    SmsNotSent,
    /// WeChat does not know the code, or it was used.
    WechatCodeInvalid,
    /// WeChat did not answer, is busy, or limits us.
    WechatUnavailable,
    /// The user has no such session.
    SessionNotFound,

    // Quota: numbers from 3000.
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

    // Tasks: numbers from 4000.
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
    /// The user has as many open streams as are allowed.
    TooManyWatches,
    /// The reader of a stream did not keep up; it may resume from the last event it saw.
    WatchTooSlow,

    // Sagas: numbers from 5000.
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

    // Steps: numbers from 5100.
    /// Step metadata is absent or malformed.
    StepMetadataInvalid,
    /// The same idempotency key came with another request.
    BarrierMismatch,
    /// A compensation came first; the caller's view of the saga is stale.
    Superseded,
}

impl Reason {
    /// Every reason, for documentation and tests.
    pub const ALL: [Self; 75] = [
        Self::InvalidArgument,
        Self::InvalidId,
        Self::InvalidPageToken,
        Self::PayloadTooLarge,
        Self::Overloaded,
        Self::Unavailable,
        Self::Internal,
        Self::DeadlineExceeded,
        Self::RateLimited,
        Self::RouteNotFound,
        Self::MethodNotAllowed,
        Self::MalformedBody,
        Self::MediaTypeNotSupported,
        Self::HeadersTooLarge,
        Self::UriTooLong,
        Self::BodyTimeout,
        Self::OriginNotAllowed,
        Self::WatchTicketInvalid,
        Self::IdempotencyKeyInvalid,
        Self::IdempotencyKeyInUse,
        Self::IdempotencyKeyReused,
        Self::IdempotencyUnavailable,
        Self::Unauthenticated,
        Self::TokenInvalid,
        Self::TokenExpired,
        Self::TokenRevoked,
        Self::PermissionDenied,
        Self::LoginFailed,
        Self::RefreshTokenInvalid,
        Self::RefreshTokenReused,
        Self::UserNotFound,
        Self::UserBanned,
        Self::PhoneTaken,
        Self::ReferrerInvalid,
        Self::InviteCodeInvalid,
        Self::PasswordTooWeak,
        Self::PasswordTooLong,
        Self::PasswordWrong,
        Self::SmsCodeInvalid,
        Self::SmsNotSent,
        Self::WechatCodeInvalid,
        Self::WechatUnavailable,
        Self::SessionNotFound,
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
        Self::TooManyWatches,
        Self::WatchTooSlow,
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
        Self::StepMetadataInvalid,
        Self::BarrierMismatch,
        Self::Superseded,
    ];

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

    /// Finds a reason by its name on the wire.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    const fn row(self) -> Row {
        match self {
            Self::InvalidArgument => row(
                "INVALID_ARGUMENT",
                1001,
                Code::InvalidArgument,
                400,
                "参数错误",
                "A value is missing or wrong",
            ),
            Self::InvalidId => row(
                "INVALID_ID",
                1002,
                Code::InvalidArgument,
                400,
                "编号格式错误",
                "The id is malformed",
            ),
            Self::InvalidPageToken => row(
                "INVALID_PAGE_TOKEN",
                1003,
                Code::InvalidArgument,
                400,
                "分页标记无效",
                "The page token is invalid",
            ),
            Self::PayloadTooLarge => row(
                "PAYLOAD_TOO_LARGE",
                1004,
                Code::InvalidArgument,
                413,
                "内容过大",
                "The content is too large",
            ),
            Self::Overloaded => row(
                "OVERLOADED",
                1005,
                Code::ResourceExhausted,
                429,
                "系统繁忙,请稍后再试",
                "The system is busy; try again later",
            ),
            Self::Unavailable => row(
                "UNAVAILABLE",
                1006,
                Code::Unavailable,
                503,
                "服务暂不可用,请稍后再试",
                "The service is not available; try again later",
            ),
            Self::Internal => row(
                "INTERNAL",
                1007,
                Code::Internal,
                500,
                "系统错误",
                "Something went wrong on our side",
            ),
            Self::DeadlineExceeded => row(
                "DEADLINE_EXCEEDED",
                1008,
                Code::DeadlineExceeded,
                504,
                "请求超时,请稍后再试",
                "The request took too long; it may or may not have taken effect",
            ),
            Self::RateLimited => row(
                "RATE_LIMITED",
                1009,
                Code::ResourceExhausted,
                429,
                "操作过于频繁,请稍后再试",
                "Too many requests; try again later",
            ),
            Self::RouteNotFound => row(
                "ROUTE_NOT_FOUND",
                1101,
                Code::NotFound,
                404,
                "接口不存在",
                "There is no such path",
            ),
            Self::MethodNotAllowed => row(
                "METHOD_NOT_ALLOWED",
                1102,
                Code::Unimplemented,
                405,
                "请求方法不支持",
                "The path does not have this method",
            ),
            Self::MalformedBody => row(
                "MALFORMED_BODY",
                1103,
                Code::InvalidArgument,
                400,
                "请求内容格式错误",
                "The body is not valid JSON",
            ),
            Self::MediaTypeNotSupported => row(
                "MEDIA_TYPE_NOT_SUPPORTED",
                1104,
                Code::InvalidArgument,
                415,
                "请求内容类型不支持",
                "The content type is not supported",
            ),
            Self::HeadersTooLarge => row(
                "HEADERS_TOO_LARGE",
                1105,
                Code::InvalidArgument,
                431,
                "请求头过大",
                "The headers are too large",
            ),
            Self::UriTooLong => row(
                "URI_TOO_LONG",
                1106,
                Code::InvalidArgument,
                414,
                "请求地址过长",
                "The address is too long",
            ),
            Self::BodyTimeout => row(
                "BODY_TIMEOUT",
                1107,
                Code::DeadlineExceeded,
                408,
                "请求内容接收超时",
                "The body did not arrive in time",
            ),
            Self::OriginNotAllowed => row(
                "ORIGIN_NOT_ALLOWED",
                1108,
                Code::PermissionDenied,
                403,
                "来源不被允许",
                "The origin is not allowed",
            ),
            Self::WatchTicketInvalid => row(
                "WATCH_TICKET_INVALID",
                1109,
                Code::Unauthenticated,
                401,
                "监听凭证无效",
                "The ticket is unknown, used or expired",
            ),
            Self::IdempotencyKeyInvalid => row(
                "IDEMPOTENCY_KEY_INVALID",
                1201,
                Code::InvalidArgument,
                400,
                "幂等键格式错误",
                "The Idempotency-Key is malformed",
            ),
            Self::IdempotencyKeyInUse => row(
                "IDEMPOTENCY_KEY_IN_USE",
                1202,
                Code::Aborted,
                409,
                "相同请求正在处理中",
                "The same request is still in progress",
            ),
            Self::IdempotencyKeyReused => row(
                "IDEMPOTENCY_KEY_REUSED",
                1203,
                Code::InvalidArgument,
                422,
                "幂等键已用于其他请求",
                "The Idempotency-Key was used for another request",
            ),
            Self::IdempotencyUnavailable => row(
                "IDEMPOTENCY_UNAVAILABLE",
                1204,
                Code::Unavailable,
                503,
                "服务暂不可用,请稍后再试",
                "Repeat the request with the same Idempotency-Key",
            ),
            Self::Unauthenticated => row(
                "UNAUTHENTICATED",
                1301,
                Code::Unauthenticated,
                401,
                "请先登录",
                "Log in first",
            ),
            Self::TokenInvalid => row(
                "TOKEN_INVALID",
                1302,
                Code::Unauthenticated,
                401,
                "登录凭证无效",
                "The token is invalid",
            ),
            Self::TokenExpired => row(
                "TOKEN_EXPIRED",
                1303,
                Code::Unauthenticated,
                401,
                "登录已过期",
                "The token has expired",
            ),
            Self::TokenRevoked => row(
                "TOKEN_REVOKED",
                1304,
                Code::Unauthenticated,
                401,
                "登录已失效",
                "The token was revoked",
            ),
            Self::PermissionDenied => row(
                "PERMISSION_DENIED",
                1305,
                Code::PermissionDenied,
                403,
                "没有权限",
                "You may not do this",
            ),
            Self::LoginFailed => row(
                "LOGIN_FAILED",
                2001,
                Code::Unauthenticated,
                401,
                "账号或凭证错误",
                "Phone number, password or code is wrong",
            ),
            Self::RefreshTokenInvalid => row(
                "REFRESH_TOKEN_INVALID",
                2002,
                Code::Unauthenticated,
                401,
                "登录已失效,请重新登录",
                "Log in again",
            ),
            Self::RefreshTokenReused => row(
                "REFRESH_TOKEN_REUSED",
                2003,
                Code::Unauthenticated,
                401,
                "登录异常,请重新登录",
                "The session was ended for safety; log in again",
            ),
            Self::UserNotFound => row(
                "USER_NOT_FOUND",
                2004,
                Code::NotFound,
                404,
                "用户不存在",
                "There is no such user",
            ),
            Self::UserBanned => row(
                "USER_BANNED",
                2005,
                Code::PermissionDenied,
                403,
                "账号已被封禁",
                "The account is banned",
            ),
            Self::PhoneTaken => row(
                "PHONE_TAKEN",
                2006,
                Code::AlreadyExists,
                409,
                "该手机号已注册",
                "The phone number is registered already",
            ),
            Self::ReferrerInvalid => row(
                "REFERRER_INVALID",
                2007,
                Code::InvalidArgument,
                400,
                "推荐人无效",
                "The referrer is invalid",
            ),
            Self::InviteCodeInvalid => row(
                "INVITE_CODE_INVALID",
                2008,
                Code::InvalidArgument,
                400,
                "邀请码无效",
                "The invite code is invalid",
            ),
            Self::PasswordTooWeak => row(
                "PASSWORD_TOO_WEAK",
                2009,
                Code::InvalidArgument,
                400,
                "密码过于简单",
                "The password is too short or too common",
            ),
            Self::PasswordTooLong => row(
                "PASSWORD_TOO_LONG",
                2010,
                Code::InvalidArgument,
                400,
                "密码过长",
                "The password is longer than 72 bytes",
            ),
            Self::PasswordWrong => row(
                "PASSWORD_WRONG",
                2011,
                Code::PermissionDenied,
                403,
                "原密码错误",
                "The old password is wrong",
            ),
            Self::SmsCodeInvalid => row(
                "SMS_CODE_INVALID",
                2012,
                Code::InvalidArgument,
                400,
                "验证码错误或已过期",
                "The code is wrong, used or expired",
            ),
            Self::SmsNotSent => row(
                "SMS_NOT_SENT",
                2013,
                Code::Unavailable,
                503,
                "短信发送失败,请稍后再试",
                "The message could not be sent; try again later",
            ),
            Self::WechatCodeInvalid => row(
                "WECHAT_CODE_INVALID",
                2014,
                Code::InvalidArgument,
                400,
                "微信登录凭证无效",
                "The WeChat code is invalid or used",
            ),
            Self::WechatUnavailable => row(
                "WECHAT_UNAVAILABLE",
                2015,
                Code::Unavailable,
                503,
                "微信服务暂不可用",
                "WeChat does not answer; try again later",
            ),
            Self::SessionNotFound => row(
                "SESSION_NOT_FOUND",
                2016,
                Code::NotFound,
                404,
                "会话不存在",
                "There is no such session",
            ),
            Self::QuotaInsufficient => row(
                "QUOTA_INSUFFICIENT",
                3001,
                Code::FailedPrecondition,
                403,
                "配额不足,请续费",
                "Not enough quota; please renew",
            ),
            Self::QuotaAccountNotFound => row(
                "QUOTA_ACCOUNT_NOT_FOUND",
                3002,
                Code::NotFound,
                404,
                "配额账户不存在",
                "There is no quota account",
            ),
            Self::ReservationNotFound => row(
                "RESERVATION_NOT_FOUND",
                3003,
                Code::NotFound,
                404,
                "预留不存在",
                "There is no such reservation",
            ),
            Self::ReservationConfirmed => row(
                "RESERVATION_CONFIRMED",
                3004,
                Code::FailedPrecondition,
                409,
                "预留已确认",
                "The reservation is confirmed already",
            ),
            Self::ReservationCancelled => row(
                "RESERVATION_CANCELLED",
                3005,
                Code::FailedPrecondition,
                409,
                "预留已取消",
                "The reservation is cancelled already",
            ),
            Self::ReservationMismatch => row(
                "RESERVATION_MISMATCH",
                3006,
                Code::AlreadyExists,
                409,
                "任务编号已被其他预留占用",
                "The task id is taken by another reservation",
            ),
            Self::GrantMismatch => row(
                "GRANT_MISMATCH",
                3007,
                Code::AlreadyExists,
                409,
                "发放编号已被其他内容占用",
                "The grant id is taken by another grant",
            ),
            Self::TaskNotFound => row(
                "TASK_NOT_FOUND",
                4001,
                Code::NotFound,
                404,
                "任务不存在",
                "There is no such task",
            ),
            Self::FeatureNotFound => row(
                "FEATURE_NOT_FOUND",
                4002,
                Code::NotFound,
                404,
                "功能不存在",
                "There is no such feature",
            ),
            Self::TaskNotCancellable => row(
                "TASK_NOT_CANCELLABLE",
                4003,
                Code::FailedPrecondition,
                409,
                "任务已无法取消",
                "The task can no longer be cancelled",
            ),
            Self::TaskMismatch => row(
                "TASK_MISMATCH",
                4004,
                Code::AlreadyExists,
                409,
                "请求编号已被其他任务占用",
                "The request id is taken by another task",
            ),
            Self::PipelineFailed => row(
                "PIPELINE_FAILED",
                4005,
                Code::FailedPrecondition,
                422,
                "任务执行失败",
                "The task could not be carried out",
            ),
            Self::TooManyWatches => row(
                "TOO_MANY_WATCHES",
                4006,
                Code::ResourceExhausted,
                429,
                "监听连接过多",
                "Too many open watches",
            ),
            Self::WatchTooSlow => row(
                "WATCH_TOO_SLOW",
                4007,
                Code::ResourceExhausted,
                429,
                "监听读取过慢",
                "The reader did not keep up; resume",
            ),
            Self::SagaNotFound => row(
                "SAGA_NOT_FOUND",
                5001,
                Code::NotFound,
                404,
                "流程不存在",
                "There is no such saga",
            ),
            Self::SagaInputMismatch => row(
                "SAGA_INPUT_MISMATCH",
                5002,
                Code::AlreadyExists,
                409,
                "业务编号已被其他内容占用",
                "The business id is taken by another input",
            ),
            Self::SagaInputInvalid => row(
                "SAGA_INPUT_INVALID",
                5003,
                Code::InvalidArgument,
                400,
                "流程输入错误",
                "The input of the saga is invalid",
            ),
            Self::SagaPastCommitPoint => row(
                "SAGA_PAST_COMMIT_POINT",
                5004,
                Code::FailedPrecondition,
                409,
                "流程已无法取消",
                "The saga can no longer be cancelled",
            ),
            Self::SagaEnded => row(
                "SAGA_ENDED",
                5005,
                Code::FailedPrecondition,
                409,
                "流程已结束",
                "The saga has ended",
            ),
            Self::SagaChanged => row(
                "SAGA_CHANGED",
                5006,
                Code::Aborted,
                409,
                "流程状态已变化",
                "The saga has changed in the meantime",
            ),
            Self::ActionNotAllowed => row(
                "ACTION_NOT_ALLOWED",
                5007,
                Code::FailedPrecondition,
                409,
                "当前状态不允许此操作",
                "The saga does not allow this action now",
            ),
            Self::CompletionTokenInvalid => row(
                "COMPLETION_TOKEN_INVALID",
                5008,
                Code::PermissionDenied,
                403,
                "完成凭证无效",
                "The completion token is invalid",
            ),
            Self::StepNotWaiting => row(
                "STEP_NOT_WAITING",
                5009,
                Code::FailedPrecondition,
                409,
                "步骤尚未开始",
                "The step has not begun",
            ),
            Self::StepAnswered => row(
                "STEP_ANSWERED",
                5010,
                Code::FailedPrecondition,
                409,
                "步骤已有结果",
                "The step has its outcome already",
            ),
            Self::StepGivenUp => row(
                "STEP_GIVEN_UP",
                5011,
                Code::FailedPrecondition,
                409,
                "步骤已放弃",
                "The step was given up",
            ),
            Self::DefinitionNotFound => row(
                "DEFINITION_NOT_FOUND",
                5012,
                Code::NotFound,
                404,
                "流程定义不存在",
                "There is no such saga definition",
            ),
            Self::DefinitionInvalid => row(
                "DEFINITION_INVALID",
                5013,
                Code::InvalidArgument,
                400,
                "流程定义有误",
                "The saga definition has mistakes",
            ),
            Self::DefinitionConflict => row(
                "DEFINITION_CONFLICT",
                5014,
                Code::AlreadyExists,
                409,
                "该版本已登记其他内容",
                "The version is registered with other content",
            ),
            Self::StepUnknown => row(
                "STEP_UNKNOWN",
                5015,
                Code::InvalidArgument,
                400,
                "步骤不存在",
                "There is no such step",
            ),
            Self::StepMetadataInvalid => row(
                "STEP_METADATA_INVALID",
                5101,
                Code::InvalidArgument,
                400,
                "步骤元数据错误",
                "The step metadata is invalid",
            ),
            Self::BarrierMismatch => row(
                "BARRIER_MISMATCH",
                5102,
                Code::Aborted,
                409,
                "重复请求内容不一致",
                "The repeated request differs from the first",
            ),
            Self::Superseded => row(
                "SUPERSEDED",
                5103,
                Code::Aborted,
                409,
                "操作已被撤销",
                "The operation was undone already",
            ),
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

/// What the catalogue says of a reason.
struct Row {
    name: &'static str,
    number: u16,
    code: Code,
    http_status: u16,
    text_zh: &'static str,
    text_en: &'static str,
}

const fn row(
    name: &'static str,
    number: u16,
    code: Code,
    http_status: u16,
    text_zh: &'static str,
    text_en: &'static str,
) -> Row {
    Row {
        name,
        number,
        code,
        http_status,
        text_zh,
        text_en,
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
