//! Orders: what is bought, and what follows from its being paid.

mod activate;
mod await_payment;
mod cancel;
mod create;
mod expire;
mod purchase;
mod read;
mod saga_status;
mod settled;
mod unwind;
mod validate_plan;

use std::time::Duration;

use chrono::{DateTime, Utc};

pub(crate) use activate::activate_order;
pub(crate) use await_payment::await_payment;
pub(crate) use cancel::cancel_order;
pub(crate) use create::create_order;
pub(crate) use expire::expire_orders;
pub(crate) use purchase::{Purchase, purchase_plan};
pub(crate) use read::{get_order, list_orders};
pub(crate) use saga_status::get_saga_status;
pub(crate) use settled::{closed, paid};
pub(crate) use unwind::{cancel_order_record, refund_order};
pub(crate) use validate_plan::validate_plan;

/// Returns when to look again at what has not changed since then: the longer ago, the later.
fn patience(since: DateTime<Utc>, shortest: Duration, longest: Duration) -> Duration {
    let age = (Utc::now() - since).to_std().unwrap_or_default();
    (age / 20).clamp(shortest, longest)
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn what_is_long_open_is_looked_at_seldom() {
        let [short, long] = [100, 2_000].map(Duration::from_millis);
        let after = |s| patience(Utc::now() - TimeDelta::seconds(s), short, long);
        assert_eq!(after(0), short);
        assert_eq!(after(-5), short, "the clocks of two machines differ");
        assert!((short..long).contains(&after(10)), "{:?}", after(10));
        assert_eq!(after(60), long);
    }
}
