//! The provider's books: orders, refunds, transfers, and the merchant's balance. Pure; time is a parameter.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::rows::{
    NewOrder, NewRefund, NewTransfer, Order, OrderState, Refund, RefundState, Transfer, TransferState,
};

/// The provider's fee, in ten-thousandths of an amount.
const FEE_BASIS_POINTS: i64 = 60;
/// What the merchant's account holds at the start, in minor units.
const FIRST_BALANCE: i64 = 1_000_000_000;
/// Most refunds of an order.
const MAX_REFUNDS: usize = 50;
/// Most orders, and most transfers, that are kept.
const MAX_KEPT: usize = 1_000_000;

/// Sums over everything, in minor units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Orders that were paid.
    pub paid: i64,
    /// Refunds that are under way, arrived or stuck: money that is not the merchant's.
    pub refunded: i64,
    /// Transfers that are under way or arrived.
    pub transferred: i64,
    /// Fees kept by the provider.
    pub fees: i64,
    /// What the merchant's account holds.
    pub balance: i64,
}

/// The books.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// Orders by number.
    pub orders: BTreeMap<String, Order>,
    /// Refunds by number.
    pub refunds: BTreeMap<String, Refund>,
    /// Transfers by number.
    pub transfers: BTreeMap<String, Transfer>,
    /// Minor units in the merchant's account.
    pub balance_minor: i64,
}

/// Why the provider refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Problem {
    NotFound,
    Mismatch,
    Paid,
    Closed,
    Amount,
    NotEnough,
    State,
    Full,
}

impl Default for Books {
    fn default() -> Self {
        Self {
            orders: BTreeMap::new(),
            refunds: BTreeMap::new(),
            transfers: BTreeMap::new(),
            balance_minor: FIRST_BALANCE,
        }
    }
}

/// Half a unit is rounded up.
pub(crate) fn fee(amount_minor: i64) -> i64 {
    (amount_minor.saturating_mul(FEE_BASIS_POINTS) + 5_000) / 10_000
}

fn numbered(kept: usize) -> String {
    format!("42{:026}", kept + 1)
}

impl Books {
    /// Creates an order, or finds the same one. The same number with other parameters is refused.
    pub(crate) fn create(&mut self, new: NewOrder, now: DateTime<Utc>) -> Result<&Order, Problem> {
        self.expire(now);
        if let Some(order) = self.orders.get(&new.number) {
            let same = order.amount_minor == new.amount_minor
                && order.subject == new.subject
                && order.notify_url == new.notify_url
                && order.expires_at == new.expires_at;
            match order.state {
                OrderState::Paid => return Err(Problem::Paid),
                OrderState::Closed => return Err(Problem::Closed),
                OrderState::Waiting if !same => return Err(Problem::Mismatch),
                OrderState::Waiting => {}
            }
        } else {
            if new.amount_minor <= 0 || new.expires_at <= now {
                return Err(Problem::Amount);
            }
            if self.orders.len() >= MAX_KEPT {
                return Err(Problem::Full);
            }
            let order = Order {
                provider_no: numbered(self.orders.len()),
                code: crate::random_text(),
                created_at: now,
                scanned: false,
                state: OrderState::Waiting,
                paid_at: None,
                fee_minor: 0,
                number: new.number.clone(),
                amount_minor: new.amount_minor,
                subject: new.subject,
                notify_url: new.notify_url,
                expires_at: new.expires_at,
            };
            self.orders.insert(new.number.clone(), order);
        }
        self.orders.get(&new.number).ok_or(Problem::NotFound)
    }

    pub(crate) fn order(&mut self, number: &str, now: DateTime<Utc>) -> Result<&mut Order, Problem> {
        self.expire(now);
        self.orders.get_mut(number).ok_or(Problem::NotFound)
    }

    /// Returns the number of the order whose page has this name.
    pub(crate) fn number_of(&self, code: &str) -> Option<String> {
        self.orders
            .values()
            .find(|order| order.code == code)
            .map(|order| order.number.clone())
    }

    /// The payer pays.
    pub(crate) fn pay(&mut self, number: &str, now: DateTime<Utc>) -> Result<Order, Problem> {
        let order = self.order(number, now)?;
        match order.state {
            OrderState::Paid => return Err(Problem::Paid),
            OrderState::Closed => return Err(Problem::Closed),
            OrderState::Waiting => {}
        }
        order.scanned = true;
        order.state = OrderState::Paid;
        order.paid_at = Some(now);
        order.fee_minor = fee(order.amount_minor);
        let order = order.clone();
        self.balance_minor += order.amount_minor;
        Ok(order)
    }

    /// Closes an order; one that is closed stays so.
    pub(crate) fn close(&mut self, number: &str, now: DateTime<Utc>) -> Result<&Order, Problem> {
        let order = self.order(number, now)?;
        match order.state {
            OrderState::Paid => Err(Problem::Paid),
            OrderState::Waiting | OrderState::Closed => {
                order.state = OrderState::Closed;
                Ok(order)
            }
        }
    }

    /// Returns what was or is being refunded of an order.
    pub(crate) fn refunded(&self, order: &str) -> i64 {
        let refunds = self.refunds.values().filter(|refund| refund.order == order);
        refunds
            .filter(|refund| refund.state.is_out())
            .map(|refund| refund.amount_minor)
            .sum()
    }

    /// Takes a refund, or finds the same one. The boolean says whether it is new.
    pub(crate) fn refund(&mut self, new: NewRefund, now: DateTime<Utc>) -> Result<(Refund, bool), Problem> {
        if let Some(refund) = self.refunds.get(&new.number) {
            let same = refund.order == new.order && refund.amount_minor == new.amount_minor;
            return if same {
                Ok((refund.clone(), false))
            } else {
                Err(Problem::Mismatch)
            };
        }
        let refunded = self.refunded(&new.order);
        let taken = self
            .refunds
            .values()
            .filter(|refund| refund.order == new.order)
            .count();
        let order = self.order(&new.order, now)?;
        if order.state != OrderState::Paid {
            return Err(Problem::State);
        }
        let left = order.amount_minor - refunded;
        let total_is_right = new.total_minor.is_none_or(|total| total == order.amount_minor);
        if !total_is_right || new.amount_minor <= 0 || new.amount_minor > left || taken >= MAX_REFUNDS {
            return Err(Problem::Amount);
        }
        if new.amount_minor > self.balance_minor {
            return Err(Problem::NotEnough);
        }
        let refund = Refund {
            provider_no: format!("50{:026}", self.refunds.len() + 1),
            state: RefundState::Processing,
            created_at: now,
            ended_at: None,
            number: new.number.clone(),
            order: new.order,
            amount_minor: new.amount_minor,
            notify_url: new.notify_url,
        };
        self.balance_minor -= refund.amount_minor;
        self.refunds.insert(new.number, refund.clone());
        Ok((refund, true))
    }

    /// Ends a refund that is under way, or one that is stuck.
    pub(crate) fn end_refund(
        &mut self,
        number: &str,
        state: RefundState,
        now: DateTime<Utc>,
    ) -> Result<Refund, Problem> {
        let refund = self.refunds.get_mut(number).ok_or(Problem::NotFound)?;
        match refund.state {
            RefundState::Processing | RefundState::Abnormal => {}
            RefundState::Succeeded | RefundState::Closed => return Err(Problem::State),
        }
        refund.state = state;
        refund.ended_at = Some(now);
        let refund = refund.clone();
        if state == RefundState::Closed {
            self.balance_minor += refund.amount_minor;
        }
        Ok(refund)
    }

    /// Takes a transfer, or finds the same one. The boolean says whether it is new.
    pub(crate) fn transfer(
        &mut self,
        new: NewTransfer,
        now: DateTime<Utc>,
    ) -> Result<(Transfer, bool), Problem> {
        if let Some(found) = self.transfers.get(&new.number) {
            let same = found.recipient == new.recipient && found.amount_minor == new.amount_minor;
            return if same {
                Ok((found.clone(), false))
            } else {
                Err(Problem::Mismatch)
            };
        }
        if new.amount_minor <= 0 {
            return Err(Problem::Amount);
        }
        if new.amount_minor > self.balance_minor {
            return Err(Problem::NotEnough);
        }
        if self.transfers.len() >= MAX_KEPT {
            return Err(Problem::Full);
        }
        let transfer = Transfer {
            provider_no: format!("13{:026}", self.transfers.len() + 1),
            created_at: now,
            updated_at: now,
            number: new.number.clone(),
            recipient: new.recipient,
            amount_minor: new.amount_minor,
            remark: new.remark,
            notify_url: new.notify_url,
            state: new.state,
        };
        self.balance_minor -= transfer.amount_minor;
        self.transfers.insert(new.number, transfer.clone());
        Ok((transfer, true))
    }

    /// Ends a transfer.
    pub(crate) fn end_transfer(
        &mut self,
        number: &str,
        state: TransferState,
        now: DateTime<Utc>,
    ) -> Result<Transfer, Problem> {
        let transfer = self.transfers.get_mut(number).ok_or(Problem::NotFound)?;
        match transfer.state {
            TransferState::Waiting | TransferState::Processing => {}
            TransferState::Succeeded | TransferState::Failed => return Err(Problem::State),
        }
        transfer.state = state;
        transfer.updated_at = now;
        let transfer = transfer.clone();
        if state == TransferState::Failed {
            self.balance_minor += transfer.amount_minor;
        }
        Ok(transfer)
    }

    /// Returns the sums.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let paid = self
            .orders
            .values()
            .filter(|order| order.state == OrderState::Paid);
        let out = self.refunds.values().filter(|refund| refund.state.is_out());
        let sent = self
            .transfers
            .values()
            .filter(|transfer| transfer.state != TransferState::Failed);
        Totals {
            paid: paid.clone().map(|order| order.amount_minor).sum(),
            refunded: out.clone().map(|refund| refund.amount_minor).sum(),
            transferred: sent.map(|transfer| transfer.amount_minor).sum(),
            fees: paid.map(|order| order.fee_minor).sum::<i64>()
                - out.map(|refund| fee(refund.amount_minor)).sum::<i64>(),
            balance: self.balance_minor,
        }
    }

    fn expire(&mut self, now: DateTime<Utc>) {
        for order in self.orders.values_mut() {
            if order.state == OrderState::Waiting && order.expires_at <= now {
                order.state = OrderState::Closed;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_700_000_000 + seconds, 0).unwrap()
    }

    fn order(amount_minor: i64) -> NewOrder {
        NewOrder {
            number: "PAY001".to_owned(),
            amount_minor,
            subject: "a plan".to_owned(),
            notify_url: String::new(),
            expires_at: at(1_800),
        }
    }

    fn refund(number: &str, amount_minor: i64) -> NewRefund {
        NewRefund {
            number: number.to_owned(),
            order: "PAY001".to_owned(),
            amount_minor,
            total_minor: None,
            notify_url: String::new(),
        }
    }

    #[test]
    fn the_same_number_is_the_same_order_or_refused() {
        let mut books = Books::default();
        let code = books.create(order(100), at(0)).unwrap().code.clone();
        assert_eq!(books.create(order(100), at(1)).unwrap().code, code);
        assert_eq!(books.create(order(101), at(1)), Err(Problem::Mismatch));
        books.pay("PAY001", at(2)).unwrap();
        assert_eq!(books.create(order(100), at(3)), Err(Problem::Paid));
        assert_eq!(books.pay("PAY001", at(3)), Err(Problem::Paid));
        assert_eq!(books.close("PAY001", at(3)), Err(Problem::Paid));
    }

    #[test]
    fn a_closed_or_expired_order_cannot_be_paid() {
        let mut books = Books::default();
        books.create(order(100), at(0)).unwrap();
        assert_eq!(books.pay("PAY001", at(1_800)), Err(Problem::Closed));
        let mut books = Books::default();
        books.create(order(100), at(0)).unwrap();
        books.close("PAY001", at(1)).unwrap();
        assert_eq!(books.pay("PAY001", at(2)), Err(Problem::Closed));
        assert_eq!(books.totals().paid, 0);
    }

    #[test]
    fn a_closed_refund_gives_the_money_back_to_the_merchant() {
        let mut books = Books::default();
        books.create(order(100), at(0)).unwrap();
        books.pay("PAY001", at(1)).unwrap();
        let before = books.balance_minor;
        books.refund(refund("REF001", 100), at(2)).unwrap();
        assert_eq!(books.refund(refund("REF002", 1), at(2)), Err(Problem::Amount));
        books.end_refund("REF001", RefundState::Closed, at(3)).unwrap();
        assert_eq!(books.balance_minor, before);
        assert!(books.refund(refund("REF002", 1), at(4)).is_ok());
    }

    proptest! {
        #[test]
        fn never_more_is_refunded_than_was_paid(
            steps in proptest::collection::vec((0_u8..6, 1_i64..80, 0_u8..3), 1..60)
        ) {
            let mut books = Books::default();
            books.create(order(100), at(0)).unwrap();
            books.pay("PAY001", at(1)).unwrap();
            for (number, amount, what) in steps {
                let number = format!("REF00{number}");
                match what {
                    0 => drop(books.refund(refund(&number, amount), at(2))),
                    1 => drop(books.end_refund(&number, RefundState::Succeeded, at(2))),
                    _ => drop(books.end_refund(&number, RefundState::Closed, at(2))),
                }
                let totals = books.totals();
                prop_assert!(totals.refunded <= totals.paid);
                prop_assert_eq!(totals.balance, FIRST_BALANCE + totals.paid - totals.refunded);
            }
        }
    }
}
