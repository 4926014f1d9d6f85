//! What WeChat's codes mean.

use crate::Reason;
use crate::outcome::Verdict;

/// Says what the code of a verified 4xx answer means. A code that is not published for our calls is no refusal.
///
/// Source: the tables of error codes of each call, for example that of closing an order
/// (<https://pay.weixin.qq.com/doc/v3/merchant/4012556398>). Older documents write some codes in another way.
pub(super) fn verdict(code: &str) -> Verdict {
    let reason = match code {
        "ORDERPAID" | "ORDER_PAID" => Reason::AlreadyPaid,
        "ORDER_CLOSED" | "ORDERCLOSED" => Reason::Closed,
        "ORDER_NOT_EXIST"
        | "ORDERNOTEXIST"
        | "RESOURCE_NOT_EXISTS"
        | "RESOURCE_NOT_EXIST"
        | "NOT_FOUND"
        | "NO_STATEMENT_EXIST" => Reason::NotFound,
        "OUT_TRADE_NO_USED" | "ALREADY_EXISTS" => Reason::Mismatch,
        "NOT_ENOUGH" | "NOTENOUGH" => Reason::NotEnough,
        "TRADE_ERROR" => Reason::State,
        "RULE_LIMIT" | "RULELIMIT" | "QUOTA_EXCEED" => Reason::Limit,
        "USER_ACCOUNT_ABNORMAL" | "ACCOUNT_ERROR" | "ACCOUNTERROR" | "OPENID_MISMATCH" => Reason::Account,
        "NO_AUTH"
        | "NOAUTH"
        | "REQUEST_BLOCKED"
        | "APPID_MCHID_NOT_MATCH"
        | "MCH_NOT_EXISTS"
        | "SIGN_ERROR" => Reason::Forbidden,
        "PARAM_ERROR" | "INVALID_REQUEST" => Reason::Invalid,
        "STATEMENT_CREATING" => Reason::NotReady,
        "FREQUENCY_LIMITED" | "FREQUENCY_LIMIT_EXCEED" | "RATELIMIT_EXCEEDED" | "RATELIMIT_EXCEED" => {
            return Verdict::Throttled;
        }
        // SYSTEM_ERROR, BANK_ERROR, and whatever WeChat may think of.
        _ => return Verdict::Unknown,
    };
    Verdict::Refused(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_published_is_not_a_refusal() {
        for code in ["SYSTEM_ERROR", "BANK_ERROR", "", "orderpaid", "BRAND_NEW"] {
            assert_eq!(verdict(code), Verdict::Unknown, "{code}");
        }
        assert_eq!(verdict("FREQUENCY_LIMITED"), Verdict::Throttled);
        assert_eq!(verdict("ORDERPAID"), Verdict::Refused(Reason::AlreadyPaid));
        assert_eq!(verdict("NOT_ENOUGH"), Verdict::Refused(Reason::NotEnough));
    }
}
