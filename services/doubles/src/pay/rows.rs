//! What the books have in them.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The merchant's number.
    pub number: String,
    /// The provider's number.
    pub provider_no: String,
    /// Minor units.
    pub amount_minor: i64,
    /// What the payer reads.
    pub subject: String,
    /// Where notifications go.
    pub notify_url: String,
    /// What the page that plays the payer calls the order.
    pub code: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// From when on it cannot be paid.
    pub expires_at: DateTime<Utc>,
    /// Somebody has looked at its page.
    pub scanned: bool,
    /// Where it stands.
    pub state: OrderState,
    /// When it was paid.
    pub paid_at: Option<DateTime<Utc>>,
    /// Minor units.
    pub fee_minor: i64,
}

/// Where an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// It can be paid.
    Waiting,
    /// It is paid.
    Paid,
    /// It was closed, or expired, before it was paid.
    Closed,
}

/// A refund.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refund {
    /// The merchant's number.
    pub number: String,
    /// The merchant's number of the order.
    pub order: String,
    /// The provider's number.
    pub provider_no: String,
    /// Minor units.
    pub amount_minor: i64,
    /// Where notifications go.
    pub notify_url: String,
    /// Where it stands.
    pub state: RefundState,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundState {
    /// Under way.
    Processing,
    /// The money went back.
    Succeeded,
    /// Closed; the money stays with the merchant.
    Closed,
    /// The payer's bank did not take it.
    Abnormal,
}

/// A transfer to a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// The merchant's number.
    pub number: String,
    /// The provider's number.
    pub provider_no: String,
    /// Who gets it.
    pub recipient: String,
    /// Minor units.
    pub amount_minor: i64,
    /// What the recipient reads.
    pub remark: String,
    /// Where notifications go.
    pub notify_url: String,
    /// Where it stands.
    pub state: TransferState,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it changed last.
    pub updated_at: DateTime<Utc>,
}

/// Where a transfer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TransferState {
    /// The recipient has to accept it.
    Waiting,
    /// Under way.
    Processing,
    /// The money arrived.
    Succeeded,
    /// It came back.
    Failed,
}

/// An order to create.
#[derive(Debug, Clone)]
pub(crate) struct NewOrder {
    pub(crate) number: String,
    pub(crate) amount_minor: i64,
    pub(crate) subject: String,
    pub(crate) notify_url: String,
    pub(crate) expires_at: DateTime<Utc>,
}

/// A refund to make.
#[derive(Debug, Clone)]
pub(crate) struct NewRefund {
    pub(crate) number: String,
    pub(crate) order: String,
    pub(crate) amount_minor: i64,
    /// What the merchant says the order was about, where it has to.
    pub(crate) total_minor: Option<i64>,
    pub(crate) notify_url: String,
}

/// A transfer to make.
#[derive(Debug, Clone)]
pub(crate) struct NewTransfer {
    pub(crate) number: String,
    pub(crate) recipient: String,
    pub(crate) amount_minor: i64,
    pub(crate) remark: String,
    pub(crate) notify_url: String,
    pub(crate) state: TransferState,
}

impl RefundState {
    /// Money of a refund that was closed is the merchant's again.
    pub(super) fn is_out(self) -> bool {
        self != Self::Closed
    }
}
