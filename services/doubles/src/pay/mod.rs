//! What the doubles of payment providers share: books, programme, notifications, and the routes beside the API.
//!
//! | request | meaning |
//! |---|---|
//! | `PUT /_program` `[rule, ..]` | replaces the [programme](Rule) |
//! | `GET /_program` | shows what is left of the programme |
//! | `GET /_books` | shows the [books](Books) |
//! | `GET /_totals` | shows the [sums](Totals) |
//! | `GET /_orders/{number}` | shows an order with its refunds |
//! | `POST /_orders/{number}/scan`, `…/pay` | plays the payer |
//! | `POST /_refunds/{number}/end` `"closed"` | ends a refund that is under way or stuck |
//! | `POST /_transfers/{number}/end` `"succeeded"` | plays the recipient, who accepts, or the provider, who fails |
//! | `GET /_deliveries` | shows every attempt to deliver a notification |
//! | `GET /pay/{code}` | the page that a payer scans; its button pays |
//! | `GET /` | lists the orders that can be paid, for people without a camera |
//!
//! The address of the page is what is answered as code URL.

mod books;
mod control;
mod deliver;
mod keys;
mod page;
mod program;
mod rows;
mod shape;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

pub use self::books::{Books, Totals};
pub(crate) use self::books::{Problem, fee};
pub(crate) use self::control::routes;
pub use self::deliver::Delivery;
pub(crate) use self::deliver::{Event, Message, Told};
pub(crate) use self::keys::Pair;
pub use self::program::{Behaviour, Operation, Rule, check};
pub(crate) use self::rows::{NewOrder, NewRefund, NewTransfer};
pub use self::rows::{Order, OrderState, Refund, RefundState, Transfer, TransferState};
pub(crate) use self::shape::{Made, shape};

/// How a double behaves without a programme.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// Factor on the intervals at which notifications are repeated: 1 is the provider's own.
    pub schedule_scale: f64,
    /// Milliseconds until a refund that was taken has arrived. Alipay's arrive at once.
    pub refund_ms: u64,
}

impl Default for Options {
    /// Intervals a hundredth of the provider's, refunds in 50 ms.
    fn default() -> Self {
        Self {
            schedule_scale: 0.01,
            refund_ms: 50,
        }
    }
}

/// How an answer or a notification deceives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    None,
    WrongKey,
    WrongAmount,
    Probe,
}

impl Lie {
    /// The amount that is told.
    pub(crate) fn amount(self, amount_minor: i64) -> i64 {
        if self == Self::WrongAmount {
            amount_minor + 1
        } else {
            amount_minor
        }
    }
}

/// What differs between the providers' notifications.
pub(crate) trait Protocol: std::fmt::Debug + Send + Sync {
    /// Seconds between the attempts to deliver a notification.
    fn schedule(&self) -> &'static [u64];

    /// Writes and signs a notification.
    fn message(&self, event: &Event, lie: Lie, now: DateTime<Utc>) -> Message;

    /// Says whether the merchant took a notification.
    fn is_taken(&self, status: u16, body: &[u8]) -> bool;
}

/// The double's time; the functions of its books are told.
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The inside of a double.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) addr: SocketAddr,
    pub(crate) options: Options,
    protocol: Box<dyn Protocol>,
    client: reqwest::Client,
    stop: CancellationToken,
    books: Mutex<Books>,
    program: Mutex<Vec<Rule>>,
    deliveries: Mutex<deliver::Deliveries>,
}

impl Core {
    pub(crate) fn new(
        addr: SocketAddr,
        options: Options,
        protocol: Box<dyn Protocol>,
        books: Books,
        stop: CancellationToken,
    ) -> std::io::Result<Self> {
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(std::io::Error::other)?;
        Ok(Self {
            addr,
            options,
            protocol,
            client,
            stop,
            books: Mutex::new(books),
            program: Mutex::default(),
            deliveries: Mutex::default(),
        })
    }

    // Nothing panics while it holds a lock; if something did, the books would still be readable.
    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn program(&self) -> MutexGuard<'_, Vec<Rule>> {
        self.program.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn deliveries(&self) -> MutexGuard<'_, deliver::Deliveries> {
        self.deliveries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sent(&self) -> Vec<Delivery> {
        self.deliveries().sent.iter().cloned().collect()
    }

    pub(crate) fn take(&self, on: Operation) -> Rule {
        program::take(&mut self.program(), on)
    }

    /// The address of the page that plays the payer.
    pub(crate) fn page_url(&self, code: &str) -> String {
        format!("http://{}/pay/{code}", self.addr)
    }

    pub(crate) fn pay(self: &Arc<Self>, number: &str) -> Result<Order, Problem> {
        let order = self.books().pay(number, now())?;
        self.tell(Told::Payment(order.clone()));
        Ok(order)
    }

    pub(crate) fn end_refund(self: &Arc<Self>, number: &str, state: RefundState) -> Result<Refund, Problem> {
        let told = {
            let mut books = self.books();
            let refund = books.end_refund(number, state, now())?;
            let order = books.order(&refund.order, now())?.clone();
            let refunded = books.refunded(&refund.order);
            Told::Refund(refund, order, refunded)
        };
        self.tell(told);
        self.books().refunds.get(number).cloned().ok_or(Problem::NotFound)
    }

    pub(crate) fn end_transfer(
        self: &Arc<Self>,
        number: &str,
        state: TransferState,
    ) -> Result<Transfer, Problem> {
        let transfer = self.books().end_transfer(number, state, now())?;
        self.tell(Told::Transfer(transfer.clone()));
        Ok(transfer)
    }

    /// Runs something later, unless the double stops before.
    pub(crate) fn later(self: &Arc<Self>, after_ms: u64, what: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let core = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = core.stop.cancelled() => {}
                () = tokio::time::sleep(std::time::Duration::from_millis(after_ms)) => what(&core),
            }
        });
    }
}
