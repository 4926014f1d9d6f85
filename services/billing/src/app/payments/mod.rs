//! Payments: money for orders, through a channel.
//!
//! | file | what |
//! |---|---|
//! | `create`, `read`, `cancel` | what users do |
//! | `record`, `call` | the steps of the saga PAYMENT, and how they are undone |
//! | `check` | asking the channel |
//! | `settle` | what a channel's word means: the only place where a payment is paid or closed by it |

mod call;
mod cancel;
mod check;
mod create;
mod end;
mod read;
mod record;
mod settle;

use std::time::Duration;

use chrono::{DateTime, Utc};
use ids::PaymentId;
use sqlx::PgConnection;

use crate::domain::patience;
use crate::error::Error;
use crate::store;
use crate::store::orders::Order;
use crate::store::payments::Payment;

pub(crate) use call::{call_payment_channel, close_payment};
pub(crate) use cancel::cancel_payment;
pub(crate) use check::check;
pub(crate) use create::{Create, create_payment};
pub(crate) use end::{close_others, end_unpaid};
pub(crate) use read::{get_payment, list_payments};
pub(crate) use record::{create_payment_record, discard_payment_record};
pub(crate) use settle::{Settled, Source, settle};

/// First and longest pause until a step that waits for a channel is asked again, if no hint comes before.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));

/// Locks a payment behind its order.
async fn lock(conn: &mut PgConnection, id: PaymentId) -> Result<Option<(Order, Payment)>, Error> {
    let Some(order) = store::orders::lock_of_payment(&mut *conn, id).await? else {
        return Ok(None);
    };
    let payment = store::payments::lock(conn, id)
        .await?
        .ok_or(Error::Broken("a payment is gone"))?;
    Ok(Some((order, payment)))
}

/// Returns when a step is asked again about something that began then: later and later.
fn ask_again(since: DateTime<Utc>) -> Duration {
    patience(since, Utc::now(), ASK_AGAIN)
}
