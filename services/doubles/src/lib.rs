//! Doubles of outside providers: real servers that behave like the real thing, and misbehave on request.
//!
//! * [`ai`]: a text-generation provider over HTTP.
//! * [`alipay`]: Alipay: payments by QR code, refunds, transfers, bills.
//! * [`allocator`]: whoever allocates devices, asked by events and answering by events.
//! * [`kms`]: Tencent Cloud's key management service.
//! * [`sms`]: Tencent Cloud SMS.
//! * [`wechat`]: WeChat's login of mini programs.
//! * [`wechatpay`]: WeChat Pay, API v3: the same.
//!
//! What the two payment providers share, the books above all, is in [`pay`].
//!
//! What it is not: part of production. Keys are made at the first start, and lie in plain files if a directory is named.
//! Books are in memory, but for those of [`allocator`], which are in Postgres as its inbox is; the books of the payment
//! providers can be taken out and given to the next one.
//!
//! Invariants:
//! * A double keeps books: every request it received, and every effect it had. Tests read them to prove that no
//!   effect happened twice.
//! * A double misbehaves only as its programme says, in the order in which the requests arrive.

pub mod ai;
pub mod alipay;
pub mod allocator;
pub mod kept;
pub mod kms;
pub mod pay;
pub mod sms;
mod tc3;
pub mod wechat;
pub mod wechatpay;

/// Refuses a status of a programme that is not an error.
fn error_status(index: usize, code: u16) -> Result<(), String> {
    if (400..=599).contains(&code) {
        Ok(())
    } else {
        Err(format!("rule {index}: status {code} is not an error status"))
    }
}

/// Returns 32 random letters and digits.
fn random_text() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
