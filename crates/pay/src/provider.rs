//! The interface to a payment provider.

use chrono::{DateTime, NaiveDate, Utc};
use futures::future::BoxFuture;
use http::HeaderMap;

use crate::{Ack, Bill, Money, Notification, NotifyError, Number, Outcome, Subject};

/// A call under way.
pub type Answer<'a, T> = BoxFuture<'a, Outcome<T>>;

/// A payment provider. Every call may be repeated with the same number and parameters: it has its effect at most once.
///
/// All calls end in one of the three ways of [`Outcome`], within [`Timeouts::answer`](crate::Timeouts::answer), or twice
/// that if WeChat's certificates have to be fetched to verify the answer. A bill takes two answers and a file.
pub trait Provider: std::fmt::Debug + Send + Sync {
    /// Returns the provider's name in settings, tables and logs: `wechat`, `alipay`.
    fn name(&self) -> &'static str;

    /// Creates an order that can be paid until `expires_at`, and returns what to show the payer.
    fn create<'a>(&'a self, order: &'a NewPayment) -> Answer<'a, Code>;

    /// Asks what became of an order.
    ///
    /// Refused with [`Reason::NotFound`](crate::Reason::NotFound) means *not paid so far*: Alipay knows an order only
    /// after its code was scanned. It is final only after `expires_at` of the order.
    fn query<'a>(&'a self, payment: &'a Number) -> Answer<'a, Payment>;

    /// Closes an order, so that it cannot be paid. Closing a closed one is done too, or refused with
    /// [`Reason::State`](crate::Reason::State) by Alipay, which does not say which state it is in.
    ///
    /// After a refusal [`query`](Self::query) tells more: it was paid, is closed, or is [not found](Self::query).
    fn close<'a>(&'a self, payment: &'a Number) -> Answer<'a, ()>;

    /// Asks for money back. Accepted is not arrived: see the state of the answer.
    fn refund<'a>(&'a self, refund: &'a NewRefund) -> Answer<'a, Refund>;

    /// Asks what became of a refund. [`Reason::NotFound`](crate::Reason::NotFound) means that the provider has not
    /// taken it: repeating it under the same number and amount is right. Alipay wants 10 s to pass after the refund
    /// before it is asked.
    fn query_refund<'a>(&'a self, refund: &'a Number, payment: &'a Number) -> Answer<'a, Refund>;

    /// Sends money to a person's balance.
    fn transfer<'a>(&'a self, transfer: &'a NewTransfer) -> Answer<'a, Transfer>;

    /// Asks what became of a transfer. [`Reason::NotFound`](crate::Reason::NotFound) means that the provider has not
    /// taken it.
    fn query_transfer<'a>(&'a self, transfer: &'a Number) -> Answer<'a, Transfer>;

    /// Downloads the bill of a day that has passed in Beijing.
    ///
    /// [`Reason::NotFound`](crate::Reason::NotFound) means that nothing happened that day, or that the day is too long
    /// ago; [`Reason::NotReady`](crate::Reason::NotReady), that it is still being made.
    fn bill(&self, day: NaiveDate) -> Answer<'_, Bill>;

    /// Verifies and decodes a notification. `body` is as it came: the signature is over its bytes.
    ///
    /// App and merchant are ours in what is returned; the number, amount and currency are for the caller to compare.
    fn read_notify<'a>(
        &'a self,
        headers: &'a HeaderMap,
        body: &'a [u8],
    ) -> BoxFuture<'a, Result<Notification, NotifyError>>;

    /// Returns the answer to a notification: taken for good, or to be sent again.
    fn acknowledge(&self, taken: bool) -> Ack;
}

/// An order to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPayment {
    /// Our number.
    pub number: Number,
    /// What the payer pays.
    pub amount: Money,
    /// What the payer reads.
    pub subject: Subject,
    /// Until when it can be paid.
    pub expires_at: DateTime<Utc>,
    /// Where notifications go: a public URL without a query.
    pub notify_url: String,
}

/// What the payer scans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Code {
    /// The text of the QR code.
    pub url: String,
}

/// A payment, as the provider sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// Our number.
    pub number: Number,
    /// The provider's number, once there is one.
    pub provider_no: Option<String>,
    /// Where it stands.
    pub state: PaymentState,
    /// The amount of the order; WeChat may leave it out while the order is not paid.
    pub amount: Option<Money>,
    /// When it was paid.
    pub paid_at: Option<DateTime<Utc>>,
    /// Who paid, as the provider names people.
    pub payer: Option<String>,
}

/// Where a payment stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PaymentState {
    /// It can still be paid.
    Pending,
    /// It is paid. Refunds are asked about one by one.
    Paid,
    /// It is paid, and was refunded in part or whole.
    Refunded,
    /// It is closed and was not paid; or, with Alipay, refunded as a whole.
    Closed,
}

/// A refund to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRefund {
    /// Our number of the refund, fixed before the first call.
    pub number: Number,
    /// Our number of the payment.
    pub payment: Number,
    /// What goes back.
    pub amount: Money,
    /// What was paid.
    pub total: Money,
    /// What the payer reads.
    pub reason: Subject,
    /// Where notifications go; Alipay uses that of the payment.
    pub notify_url: String,
}

/// A refund, as the provider sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Our number of the refund.
    pub number: Number,
    /// Our number of the payment.
    pub payment: Number,
    /// The provider's number; Alipay has none.
    pub provider_no: Option<String>,
    /// What goes back; absent where Alipay names only the sum of all refunds.
    pub amount: Option<Money>,
    /// Where it stands.
    pub state: RefundState,
    /// When the money arrived.
    pub refunded_at: Option<DateTime<Utc>>,
}

/// Where a refund stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefundState {
    /// Taken; ask later.
    Processing,
    /// The money went back.
    Succeeded,
    /// Closed: no money went back, and none will.
    Closed,
    /// The payer's bank does not take it: a person has to act at the provider.
    Abnormal,
}

/// A transfer to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTransfer {
    /// Our number, fixed before the first call.
    pub number: Number,
    /// Who gets it.
    pub recipient: Recipient,
    /// How much.
    pub amount: Money,
    /// What the recipient reads.
    pub remark: Subject,
    /// Where notifications go.
    pub notify_url: String,
}

/// A person, as a provider names people: WeChat's `openid`, or Alipay's user id.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient {
    /// The provider's name for the person.
    pub id: String,
    /// The person's real name, compared by Alipay. WeChat is not told: it would have to be encrypted there.
    pub name: Option<String>,
}

impl std::fmt::Debug for Recipient {
    /// Without the name: it is nobody's business who reads logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recipient")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

/// A transfer, as the provider sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Our number.
    pub number: Number,
    /// The provider's number.
    pub provider_no: Option<String>,
    /// How much; absent in answers that do not name it.
    pub amount: Option<Money>,
    /// Where it stands.
    pub state: TransferState,
}

/// Where a transfer stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TransferState {
    /// Taken; ask later.
    Processing,
    /// The recipient has to accept it, in WeChat. `package` opens the page there; it comes with the first answer only.
    AwaitingRecipient {
        /// WeChat's `package_info`.
        package: Option<String>,
    },
    /// The money arrived.
    Succeeded,
    /// It failed, and no money went out; or it came back.
    Failed {
        /// The provider's reason.
        reason: String,
    },
}
