//! What Alipay's codes mean.

use crate::Reason;
use crate::outcome::Verdict;

/// Says what the codes of a verified answer mean. What is not published for our calls is no refusal.
///
/// Source: the gateway's codes (<https://open.alitrip.com/docs/doc.htm?articleId=105806&docType=1&treeId=262>), and those in
/// the document of each method.
pub(super) fn verdict(code: &str, sub_code: &str) -> Verdict {
    if let Some(reason) = refusal(sub_code) {
        return Verdict::Refused(reason);
    }
    match code {
        // The gateway did not pass the request on.
        "40001" | "40002" => Verdict::Refused(Reason::Invalid),
        "20001" | "40006" => Verdict::Refused(Reason::Forbidden),
        // 20000 says that nobody knows, 40004 that sub_code says it, and that is none we know.
        _ => Verdict::Unknown,
    }
}

fn refusal(sub_code: &str) -> Option<Reason> {
    Some(match sub_code {
        "ACQ.TRADE_HAS_SUCCESS" => Reason::AlreadyPaid,
        "ACQ.TRADE_HAS_CLOSE" => Reason::Closed,
        "ACQ.TRADE_NOT_EXIST" | "ORDER_NOT_EXIST" | "isp.bill_not_exist" => Reason::NotFound,
        "ACQ.CONTEXT_INCONSISTENT" | "ACQ.DISCORDANT_REPEAT_REQUEST" => Reason::Mismatch,
        "ACQ.SELLER_BALANCE_NOT_ENOUGH" | "PAYER_BALANCE_NOT_ENOUGH" | "BALANCE_IS_NOT_ENOUGH" => {
            Reason::NotEnough
        }
        "ACQ.TOTAL_FEE_EXCEED"
        | "ACQ.REFUND_AMT_NOT_EQUAL_TOTAL"
        | "ACQ.REASON_TRADE_REFUND_FEE_ERR"
        | "ACQ.REFUND_FEE_ERROR"
        | "ACQ.NOT_ALLOW_PARTIAL_REFUND"
        | "EXCEED_LIMIT_SM_MIN_AMOUNT" => Reason::Amount,
        "ACQ.TRADE_STATUS_ERROR"
        | "ACQ.REASON_TRADE_STATUS_INVALID"
        | "ACQ.REASON_ILLEGAL_STATUS"
        | "ACQ.REASON_TRADE_BEEN_FREEZEN"
        | "ACQ.TRADE_NOT_ALLOW_REFUND" => Reason::State,
        "ACQ.TRADE_HAS_FINISHED" => Reason::Expired,
        "ACQ.BUYER_SELLER_EQUAL"
        | "ACQ.TRADE_BUYER_NOT_MATCH"
        | "ACQ.BUYER_ENABLE_STATUS_FORBID"
        | "PAYEE_NOT_EXIST"
        | "PAYEE_USERINFO_ERROR"
        | "PAYEE_USER_INFO_ERROR"
        | "PAYEE_ACC_OCUPIED"
        | "PAYEE_ACCOUNT_STATUS_ERROR"
        | "PERMIT_NON_BANK_LIMIT_PAYEE"
        | "BLOCK_USER_FORBBIDEN_RECIEVE"
        | "NO_ACCOUNT_RECEIVE_PERMISSION" => Reason::Account,
        "ACQ.ACCESS_FORBIDDEN"
        | "ACQ.PARTNER_ERROR"
        | "ACQ.SELLER_BEEN_BLOCKED"
        | "PAYER_STATUS_ERROR"
        | "PAYER_CERTIFY_CHECK_FAIL"
        | "PERMIT_CHECK_PERM_LIMITED"
        | "SECURITY_CHECK_FAILED"
        | "NO_PERMISSION_ACCOUNT" => Reason::Forbidden,
        "ACQ.INVALID_PARAMETER"
        | "ACQ.EXIST_FORBIDDEN_WORD"
        | "INVALID_PARAMETER"
        | "MEMO_REQUIRED_IN_TRANSFER_ERROR" => Reason::Invalid,
        limit if limit.starts_with("EXCEED_LIMIT_") => Reason::Limit,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_published_is_not_a_refusal() {
        for (code, sub_code) in [
            ("40004", "ACQ.SYSTEM_ERROR"),
            ("40004", "SYSTEM_ERROR"),
            ("40004", "REQUEST_PROCESSING"),
            ("40004", ""),
            ("20000", "isp.unknow-error"),
            ("20000", "aop.ACQ.SYSTEM_ERROR"),
            ("10003", ""),
            ("40003", ""),
            ("40005", ""),
            ("", ""),
        ] {
            assert_eq!(verdict(code, sub_code), Verdict::Unknown, "{code} {sub_code}");
        }
    }

    #[test]
    fn published_codes_are_refusals() {
        for (code, sub_code, reason) in [
            ("40004", "ACQ.TRADE_HAS_SUCCESS", Reason::AlreadyPaid),
            ("40004", "ACQ.TRADE_NOT_EXIST", Reason::NotFound),
            ("40004", "EXCEED_LIMIT_DM_AMOUNT", Reason::Limit),
            ("40002", "isv.invalid-signature", Reason::Invalid),
            ("40006", "isv.insufficient-isv-permissions", Reason::Forbidden),
        ] {
            assert_eq!(verdict(code, sub_code), Verdict::Refused(reason), "{sub_code}");
        }
    }
}
