//! The reasons themselves.
//!
//! One entry: what it means (the doc comment), number, name on the wire, gRPC code, HTTP status, the texts for end users in
//! Chinese and English, and what a caller does about it. A number or name is never given to another reason; new ones are
//! added at the end of their group.

use tonic::Code;

use super::Group;
use super::declare::catalogue;

catalogue! {
    group "Everywhere", from 1000, raised by "any service, under its own domain" {
        /// A field is absent, malformed or out of range; the message names it.
        InvalidArgument = 1001 INVALID_ARGUMENT InvalidArgument 400
            "参数错误", "A value is missing or wrong",
            "Correct the field that the message names.";
        /// An id is not of the form `<prefix>_<32 hex digits>`.
        InvalidId = 1002 INVALID_ID InvalidArgument 400
            "编号格式错误", "The id is malformed",
            "Send an id as it was given to you.";
        /// A page token was not made by this method.
        InvalidPageToken = 1003 INVALID_PAGE_TOKEN InvalidArgument 400
            "分页标记无效", "The page token is invalid",
            "Begin the list again without a token; keep the filter while you page.";
        /// A payload is above its stated limit.
        PayloadTooLarge = 1004 PAYLOAD_TOO_LARGE InvalidArgument 413
            "内容过大", "The content is too large",
            "Send less; the message names the limit.";
        /// The service cannot take more work now; nothing was done.
        Overloaded = 1005 OVERLOADED ResourceExhausted 429
            "系统繁忙,请稍后再试", "The system is busy; try again later",
            "Wait, then repeat; double the wait each time.";
        /// The database or another part is not reachable; the effect may or may not have happened.
        Unavailable = 1006 UNAVAILABLE Unavailable 503
            "服务暂不可用,请稍后再试", "The service is not available; try again later",
            "Repeat with the same request id or key; it has an effect once.";
        /// A defect of ours; details are in the log only.
        Internal = 1007 INTERNAL Internal 500
            "系统错误", "Something went wrong on our side",
            "Report it with the request id; repeating seldom helps.";
        /// The time allowed has passed; the effect may or may not have happened.
        DeadlineExceeded = 1008 DEADLINE_EXCEEDED DeadlineExceeded 504
            "请求超时,请稍后再试", "The request took too long; it may or may not have taken effect",
            "Repeat with the same request id or key; it has an effect once.";
        /// A limit on how often is reached; `RetryInfo` says when it is over.
        RateLimited = 1009 RATE_LIMITED ResourceExhausted 429
            "操作过于频繁,请稍后再试", "Too many requests; try again later",
            "Wait as long as `Retry-After` says.";
    }
    group "HTTP edge", from 1100, raised by "the gateway" {
        /// No route has this path.
        RouteNotFound = 1101 ROUTE_NOT_FOUND NotFound 404
            "接口不存在", "There is no such path",
            "Look the path up in the OpenAPI document.";
        /// The path exists, with other methods; `Allow` lists them.
        MethodNotAllowed = 1102 METHOD_NOT_ALLOWED Unimplemented 405
            "请求方法不支持", "The path does not have this method",
            "Use a method that `Allow` lists.";
        /// The body is not UTF-8, not JSON, or has a key twice.
        MalformedBody = 1103 MALFORMED_BODY InvalidArgument 400
            "请求内容格式错误", "The body is not valid JSON",
            "Send one JSON object in UTF-8, each key once.";
        /// The body is not `application/json`, or has an unknown encoding.
        MediaTypeNotSupported = 1104 MEDIA_TYPE_NOT_SUPPORTED InvalidArgument 415
            "请求内容类型不支持", "The content type is not supported",
            "Send `Content-Type: application/json`, plain or gzip.";
        /// The headers together are above their limit.
        HeadersTooLarge = 1105 HEADERS_TOO_LARGE InvalidArgument 431
            "请求头过大", "The headers are too large",
            "Send fewer or shorter headers.";
        /// Path and query are above their limit.
        UriTooLong = 1106 URI_TOO_LONG InvalidArgument 414
            "请求地址过长", "The address is too long",
            "Send fewer or shorter parameters.";
        /// The body did not arrive in time; nothing was done.
        BodyTimeout = 1107 BODY_TIMEOUT DeadlineExceeded 408
            "请求内容接收超时", "The body did not arrive in time",
            "Repeat; send the body without pauses.";
        /// A browser on a site that is not listed wants to watch.
        OriginNotAllowed = 1108 ORIGIN_NOT_ALLOWED PermissionDenied 403
            "来源不被允许", "The origin is not allowed",
            "Have the site's origin listed in the gateway's settings.";
        /// The ticket to watch is unknown, was used, or has expired.
        WatchTicketInvalid = 1109 WATCH_TICKET_INVALID Unauthenticated 401
            "监听凭证无效", "The ticket is unknown, used or expired",
            "Get a new ticket, and use it at once and once.";
    }
    group "Idempotency keys", from 1200, raised by "the gateway, and services for the metadata `idempotency-key`" {
        /// The key is not 1 to 255 printable ASCII characters, or came twice.
        IdempotencyKeyInvalid = 1201 IDEMPOTENCY_KEY_INVALID InvalidArgument 400
            "幂等键格式错误", "The Idempotency-Key is malformed",
            "Send one key; a UUID is a good one.";
        /// The first request with this key has not ended.
        IdempotencyKeyInUse = 1202 IDEMPOTENCY_KEY_IN_USE Aborted 409
            "相同请求正在处理中", "The same request is still in progress",
            "Wait for the first request, or repeat after `Retry-After`.";
        /// The key was used with another method, route or body.
        IdempotencyKeyReused = 1203 IDEMPOTENCY_KEY_REUSED InvalidArgument 422
            "幂等键已用于其他请求", "The Idempotency-Key was used for another request",
            "Use a new key for a new request.";
        /// The store of keys does not answer; repeating the request with the same key is safe.
        IdempotencyUnavailable = 1204 IDEMPOTENCY_UNAVAILABLE Unavailable 503
            "服务暂不可用,请稍后再试", "Repeat the request with the same Idempotency-Key",
            "Repeat with the same key after `Retry-After`.";
    }
    group "Who is calling", from 1300, raised by "the layer before every service, domain `access.evenkeel`; where a user is named, the service itself" {
        /// The method needs a token and there is none.
        Unauthenticated = 1301 UNAUTHENTICATED Unauthenticated 401
            "请先登录", "Log in first",
            "Log in, and send `Authorization: Bearer …`.";
        /// The token is malformed, tampered with, of an unknown key, or for another audience.
        TokenInvalid = 1302 TOKEN_INVALID Unauthenticated 401
            "登录凭证无效", "The token is invalid",
            "Log in again.";
        /// The token was good and has expired; refresh it.
        TokenExpired = 1303 TOKEN_EXPIRED Unauthenticated 401
            "登录已过期", "The token has expired",
            "Refresh the token, and repeat.";
        /// The role or state of the user has changed since the token was made; refresh it.
        TokenRevoked = 1304 TOKEN_REVOKED Unauthenticated 401
            "登录已失效", "The token was revoked",
            "Refresh the token, and repeat; if that fails, log in again.";
        /// The caller is known and may not call this method, or not for this user.
        PermissionDenied = 1305 PERMISSION_DENIED PermissionDenied 403
            "没有权限", "You may not do this",
            "Do not repeat; ask somebody who may.";
    }
    group "Accounts", from 2000, raised by "the auth service, domain `auth.evenkeel`" {
        /// Unknown phone number, wrong password, or wrong, used or expired code.
        LoginFailed = 2001 LOGIN_FAILED Unauthenticated 401
            "账号或凭证错误", "Phone number, password or code is wrong",
            "Ask the person to type it again; which part was wrong is not told.";
        /// The refresh token is malformed, expired, or its session has ended.
        RefreshTokenInvalid = 2002 REFRESH_TOKEN_INVALID Unauthenticated 401
            "登录已失效,请重新登录", "Log in again",
            "Log in again.";
        /// A refresh token was used a second time; its session is revoked.
        RefreshTokenReused = 2003 REFRESH_TOKEN_REUSED Unauthenticated 401
            "登录异常,请重新登录", "The session was ended for safety; log in again",
            "Log in again; if it was not you, somebody has had the token.";
        /// There is no such user.
        UserNotFound = 2004 USER_NOT_FOUND NotFound 404
            "用户不存在", "There is no such user",
            "Check the id.";
        /// The user is banned.
        UserBanned = 2005 USER_BANNED PermissionDenied 403
            "账号已被封禁", "The account is banned",
            "Contact support.";
        /// There is a user with this phone number.
        PhoneTaken = 2006 PHONE_TAKEN AlreadyExists 409
            "该手机号已注册", "The phone number is registered already",
            "Log in instead.";
        /// The referrer does not exist, is not active, or would refer itself.
        ReferrerInvalid = 2007 REFERRER_INVALID InvalidArgument 400
            "推荐人无效", "The referrer is invalid",
            "Register without a referrer, or with another one.";
        /// Nobody has this invite code.
        InviteCodeInvalid = 2008 INVITE_CODE_INVALID InvalidArgument 400
            "邀请码无效", "The invite code is invalid",
            "Check the code.";
        /// The password is shorter than 8 characters or one of the 10,000 most common.
        PasswordTooWeak = 2009 PASSWORD_TOO_WEAK InvalidArgument 400
            "密码过于简单", "The password is too short or too common",
            "Choose a longer or less common password.";
        /// The password is longer than the 72 bytes that bcrypt reads.
        PasswordTooLong = 2010 PASSWORD_TOO_LONG InvalidArgument 400
            "密码过长", "The password is longer than 72 bytes",
            "Choose a shorter password; letters beyond ASCII take several bytes.";
        /// The old password is wrong.
        PasswordWrong = 2011 PASSWORD_WRONG PermissionDenied 403
            "原密码错误", "The old password is wrong",
            "Ask for the old password again, or reset it.";
        /// The code is wrong, used, expired, or for another purpose.
        SmsCodeInvalid = 2012 SMS_CODE_INVALID InvalidArgument 400
            "验证码错误或已过期", "The code is wrong, used or expired",
            "Ask for a new code.";
        /// The SMS provider did not take the message.
        SmsNotSent = 2013 SMS_NOT_SENT Unavailable 503
            "短信发送失败,请稍后再试", "The message could not be sent; try again later",
            "Try again in a minute.";
        /// WeChat does not know the code, or it was used.
        WechatCodeInvalid = 2014 WECHAT_CODE_INVALID InvalidArgument 400
            "微信登录凭证无效", "The WeChat code is invalid or used",
            "Get a new code from WeChat; each works once.";
        /// WeChat did not answer, is busy, or limits us.
        WechatUnavailable = 2015 WECHAT_UNAVAILABLE Unavailable 503
            "微信服务暂不可用", "WeChat does not answer; try again later",
            "Get a new code, and try again.";
        /// The user has no such session.
        SessionNotFound = 2016 SESSION_NOT_FOUND NotFound 404
            "会话不存在", "There is no such session",
            "Nothing: it has ended already.";
    }
    group "Quota", from 3000, raised by "the quota service, domain `quota.evenkeel`; a task that lacks quota passes it on" {
        /// Not enough quota, or no account.
        QuotaInsufficient = 3001 QUOTA_INSUFFICIENT FailedPrecondition 403
            "配额不足,请续费", "Not enough quota; please renew",
            "Buy quota, or ask for less.";
        /// The user has no quota account.
        QuotaAccountNotFound = 3002 QUOTA_ACCOUNT_NOT_FOUND NotFound 404
            "配额账户不存在", "There is no quota account",
            "Grant quota first; the first grant makes the account.";
        /// There is no reservation for this task.
        ReservationNotFound = 3003 RESERVATION_NOT_FOUND NotFound 404
            "预留不存在", "There is no such reservation",
            "Check the task id; reserve first.";
        /// The reservation is consumed already.
        ReservationConfirmed = 3004 RESERVATION_CONFIRMED FailedPrecondition 409
            "预留已确认", "The reservation is confirmed already",
            "Nothing: it is consumed.";
        /// The reservation was given back already.
        ReservationCancelled = 3005 RESERVATION_CANCELLED FailedPrecondition 409
            "预留已取消", "The reservation is cancelled already",
            "Reserve anew under another task id.";
        /// The task id is taken by a reservation of another user or amount.
        ReservationMismatch = 3006 RESERVATION_MISMATCH AlreadyExists 409
            "任务编号已被其他预留占用", "The task id is taken by another reservation",
            "Use another task id, or the first user and amount.";
        /// The grant id is taken by a grant that differs; the message names the field.
        GrantMismatch = 3007 GRANT_MISMATCH AlreadyExists 409
            "发放编号已被其他内容占用", "The grant id is taken by another grant",
            "Use another grant id, or what was granted first.";
        /// The source has granted already, under another grant id.
        SourceGranted = 3008 SOURCE_GRANTED AlreadyExists 409
            "该来源已发放配额", "This source has granted already",
            "Nothing: it is granted.";
        /// What the source grants was taken back, so it grants no more.
        SourceClawedBack = 3009 SOURCE_CLAWED_BACK FailedPrecondition 409
            "该来源的配额已收回", "What this source grants was taken back",
            "Nothing: the order or membership behind it is over.";
        /// The reservation ran out before it was confirmed; its quota is given back.
        ReservationExpired = 3010 RESERVATION_EXPIRED FailedPrecondition 409
            "预留已过期", "The reservation has expired",
            "Reserve anew under another task id; extend it in time.";
        /// The clawback id is taken by a clawback of another user, source or amount.
        ClawbackMismatch = 3011 CLAWBACK_MISMATCH AlreadyExists 409
            "收回编号已被其他内容占用", "The clawback id is taken by another clawback",
            "Use another clawback id, or the first user, source and amount.";
        /// The clawback was undone, and its id cannot be used again.
        ClawbackUndone = 3012 CLAWBACK_UNDONE FailedPrecondition 409
            "收回已撤销", "The clawback was undone",
            "Claw back anew under another id.";
    }
    group "Tasks", from 4000, raised by "the task service, domain `task.evenkeel`" {
        /// There is no such task.
        TaskNotFound = 4001 TASK_NOT_FOUND NotFound 404
            "任务不存在", "There is no such task",
            "Check the id.";
        /// There is no such feature.
        FeatureNotFound = 4002 FEATURE_NOT_FOUND NotFound 404
            "功能不存在", "There is no such feature",
            "List the features.";
        /// The task's work is done; it cannot be cancelled any more.
        TaskNotCancellable = 4003 TASK_NOT_CANCELLABLE FailedPrecondition 409
            "任务已无法取消", "The task can no longer be cancelled",
            "Nothing: show its result.";
        /// The request id is taken by a task with other content.
        TaskMismatch = 4004 TASK_MISMATCH AlreadyExists 409
            "请求编号已被其他任务占用", "The request id is taken by another task",
            "Use another request id.";
        /// A step of the pipeline failed for good.
        PipelineFailed = 4005 PIPELINE_FAILED FailedPrecondition 422
            "任务执行失败", "The task could not be carried out",
            "Read the message; create another task once the cause is gone.";
        /// The user has as many open streams as are allowed.
        TooManyWatches = 4006 TOO_MANY_WATCHES ResourceExhausted 429
            "监听连接过多", "Too many open watches",
            "Close a stream first; one is enough for all tasks.";
        /// The reader of a stream did not keep up; it may resume from the last event it saw.
        WatchTooSlow = 4007 WATCH_TOO_SLOW ResourceExhausted 429
            "监听读取过慢", "The reader did not keep up; resume",
            "Watch again with the `last_seq` you have seen; nothing is lost.";
    }
    group "Sagas", from 5000, raised by "the orchestrator, domain `saga.evenkeel`" {
        /// There is no such saga.
        SagaNotFound = 5001 SAGA_NOT_FOUND NotFound 404
            "流程不存在", "There is no such saga",
            "Check the id.";
        /// The business key is taken by a saga with another input.
        SagaInputMismatch = 5002 SAGA_INPUT_MISMATCH AlreadyExists 409
            "业务编号已被其他内容占用", "The business id is taken by another input",
            "Use another business id, or the first input.";
        /// The input does not fit the definition's input type.
        SagaInputInvalid = 5003 SAGA_INPUT_INVALID InvalidArgument 400
            "流程输入错误", "The input of the saga is invalid",
            "Correct the field that the message names.";
        /// The pivot may have started; the saga only goes forward now.
        SagaPastCommitPoint = 5004 SAGA_PAST_COMMIT_POINT FailedPrecondition 409
            "流程已无法取消", "The saga can no longer be cancelled",
            "Wait for its end; undo it by business means.";
        /// The saga has ended already.
        SagaEnded = 5005 SAGA_ENDED FailedPrecondition 409
            "流程已结束", "The saga has ended",
            "Nothing: show how it ended.";
        /// The saga is not as it was when the operator decided.
        SagaChanged = 5006 SAGA_CHANGED Aborted 409
            "流程状态已变化", "The saga has changed in the meantime",
            "Look at it again, and decide again.";
        /// The saga does not allow this operator's action as it stands.
        ActionNotAllowed = 5007 ACTION_NOT_ALLOWED FailedPrecondition 409
            "当前状态不允许此操作", "The saga does not allow this action now",
            "Look at the saga; it says which actions it allows.";
        /// The completion token was tampered with, or is not ours.
        CompletionTokenInvalid = 5008 COMPLETION_TOKEN_INVALID PermissionDenied 403
            "完成凭证无效", "The completion token is invalid",
            "Return the token as it came.";
        /// The step was not called yet, so nothing can complete it.
        StepNotWaiting = 5009 STEP_NOT_WAITING FailedPrecondition 409
            "步骤尚未开始", "The step has not begun",
            "Try again a little later.";
        /// The outcome of the step is recorded already.
        StepAnswered = 5010 STEP_ANSWERED FailedPrecondition 409
            "步骤已有结果", "The step has its outcome already",
            "Nothing: the first answer counts.";
        /// The saga unwinds and no longer waits for the step.
        StepGivenUp = 5011 STEP_GIVEN_UP FailedPrecondition 409
            "步骤已放弃", "The step was given up",
            "Undo what was done for it; the saga will ask for that, too.";
        /// No active definition has this name.
        DefinitionNotFound = 5012 DEFINITION_NOT_FOUND NotFound 404
            "流程定义不存在", "There is no such saga definition",
            "Register and activate the definition.";
        /// This version is registered with other content.
        DefinitionConflict = 5014 DEFINITION_CONFLICT AlreadyExists 409
            "该版本已登记其他内容", "The version is registered with other content",
            "Register the change as a new version.";
        /// The definition has no step of this name.
        StepUnknown = 5015 STEP_UNKNOWN InvalidArgument 400
            "步骤不存在", "There is no such step",
            "Check the step's name in the definition.";
    }
    group "Steps", from 5100, raised by "participants towards the orchestrator, under their own domain; callers of the public API do not see these" {
        /// Step metadata is absent or malformed.
        StepMetadataInvalid = 5101 STEP_METADATA_INVALID InvalidArgument 400
            "步骤元数据错误", "The step metadata is invalid",
            "Call steps through a saga.";
        /// The same idempotency key came with another request.
        BarrierMismatch = 5102 BARRIER_MISMATCH Aborted 409
            "重复请求内容不一致", "The repeated request differs from the first",
            "Look for a definition that does not map the same input to the same request.";
        /// A compensation came first; the caller's view of the saga is stale.
        Superseded = 5103 SUPERSEDED Aborted 409
            "操作已被撤销", "The operation was undone already",
            "Nothing: the orchestrator reads the saga again.";
    }
    group "Billing", from 6000, raised by "the billing service, domain `billing.evenkeel`" {
        /// There is no such plan, or it is not on sale.
        PlanNotAvailable = 6001 PLAN_NOT_AVAILABLE FailedPrecondition 409
            "套餐不可用", "The plan is not available",
            "Show the plans that are on sale.";
        /// The amount is not the price of the plan, or not what the order costs.
        PriceMismatch = 6002 PRICE_MISMATCH FailedPrecondition 409
            "价格已变化", "The price has changed",
            "Show the price of now, and ask again.";
        /// There is no such order.
        OrderNotFound = 6003 ORDER_NOT_FOUND NotFound 404
            "订单不存在", "There is no such order",
            "Check the id.";
        /// The request id was used for another order, payment, refund or withdrawal.
        OrderMismatch = 6004 ORDER_MISMATCH AlreadyExists 409
            "请求编号已被其他内容占用", "The request id was used for something else",
            "Use another request id, or the first content.";
        /// The order is paid, cancelled, or has expired.
        OrderNotPayable = 6005 ORDER_NOT_PAYABLE FailedPrecondition 409
            "订单无法支付", "The order cannot be paid any more",
            "Look at the order; make a new one.";
        /// The order is paid.
        OrderNotCancellable = 6006 ORDER_NOT_CANCELLABLE FailedPrecondition 409
            "订单无法取消", "The order cannot be cancelled any more",
            "Ask for a refund instead.";
        /// The order was cancelled, or has expired, before it was paid.
        OrderCancelled = 6007 ORDER_CANCELLED FailedPrecondition 409
            "订单已取消", "The order was cancelled",
            "Make a new order.";
        /// There is no such payment.
        PaymentNotFound = 6008 PAYMENT_NOT_FOUND NotFound 404
            "支付单不存在", "There is no such payment",
            "Check the id.";
        /// The order has an open payment for this channel; the metadata `payment_id` names it.
        PaymentInProgress = 6009 PAYMENT_IN_PROGRESS FailedPrecondition 409
            "该订单已有进行中的支付", "The order has an open payment already",
            "Show that payment, or cancel it.";
        /// The payment is paid.
        PaymentNotClosable = 6010 PAYMENT_NOT_CLOSABLE FailedPrecondition 409
            "支付单无法关闭", "The payment cannot be closed any more",
            "Ask for a refund instead.";
        /// The payment provider is not configured here.
        ChannelNotAvailable = 6011 CHANNEL_NOT_AVAILABLE FailedPrecondition 409
            "支付渠道不可用", "The payment channel is not available",
            "Use another channel.";
        /// The payment provider refused; nothing happened there, and nothing will.
        ChannelRefused = 6012 CHANNEL_REFUSED FailedPrecondition 409
            "支付渠道拒绝", "The payment provider refused",
            "Read the message; use another channel.";
        /// There is no such refund.
        RefundNotFound = 6013 REFUND_NOT_FOUND NotFound 404
            "退款单不存在", "There is no such refund",
            "Check the id.";
        /// The payment cannot be refunded: it is not paid, its order is not completed, its time is over, or it was refunded 50 times.
        RefundNotAllowed = 6014 REFUND_NOT_ALLOWED FailedPrecondition 409
            "该支付无法退款", "The payment cannot be refunded",
            "Look at the payment; an administrator may do more.";
        /// More than what is left of the payment.
        RefundTooLarge = 6015 REFUND_TOO_LARGE FailedPrecondition 409
            "退款金额超限", "The refund is larger than what is left",
            "Ask for at most the metadata `left`.";
        /// Another refund of the payment is under way.
        RefundInProgress = 6016 REFUND_IN_PROGRESS FailedPrecondition 409
            "已有退款进行中", "Another refund is under way",
            "Wait for its end.";
        /// The provider closed the refund: no money went back.
        RefundClosed = 6017 REFUND_CLOSED FailedPrecondition 409
            "退款已关闭", "The refund was closed; no money went back",
            "Ask for a new refund.";
        /// The user has less commission than wanted.
        CommissionInsufficient = 6018 COMMISSION_INSUFFICIENT FailedPrecondition 409
            "可提现余额不足", "Not enough commission",
            "Ask for at most what is available.";
        /// There is no such withdrawal.
        WithdrawalNotFound = 6019 WITHDRAWAL_NOT_FOUND NotFound 404
            "提现单不存在", "There is no such withdrawal",
            "Check the id.";
        /// The credit id was used for another credit.
        CreditMismatch = 6020 CREDIT_MISMATCH AlreadyExists 409
            "入账编号已被其他内容占用", "The credit id was used for something else",
            "Use another credit id.";
        /// There is no such case.
        CaseNotFound = 6021 CASE_NOT_FOUND NotFound 404
            "工单不存在", "There is no such case",
            "Check the id.";
        /// The case was resolved before.
        CaseResolved = 6022 CASE_RESOLVED FailedPrecondition 409
            "工单已处理", "The case is resolved already",
            "Nothing: show how it was resolved.";
        /// What the case is about cannot be settled so: it is settled already, or is of another kind.
        SettlementNotPossible = 6023 SETTLEMENT_NOT_POSSIBLE FailedPrecondition 409
            "当前状态无法人工结算", "This cannot be settled so",
            "Look at the case again; close it with a note only.";
        /// The provider has no statement of this day, or is still making it.
        StatementNotReady = 6024 STATEMENT_NOT_READY FailedPrecondition 409
            "对账单尚未生成", "The statement is not there yet",
            "Ask again later.";
        /// There is no such difference.
        DifferenceNotFound = 6025 DIFFERENCE_NOT_FOUND NotFound 404
            "差异不存在", "There is no such difference",
            "Check the id.";
    }
}
