//! Statuses, and which may follow each other. Triggers of the database refuse every other change; a test compares the two.

use proto::billing::v1 as pb;

/// A status with a table of changes.
pub(crate) trait Machine: Copy + Eq + 'static {
    /// The table that has it, which is also its name in `transition`.
    const TABLE: &'static str;
    /// Every status with its name in the table.
    const NAMES: &'static [(Self, &'static str)];
    /// The changes that exist. Everything else is impossible.
    const CHANGES: &'static [(Self, Self)];

    /// Returns the name in the table.
    fn name(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(status, _)| *status == self)
            .map_or("", |(_, name)| name)
    }

    /// Reads a name of the table.
    fn from_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(status, _)| *status)
    }

    /// Tells whether there is such a change.
    fn can_become(self, to: Self) -> bool {
        Self::CHANGES.contains(&(self, to))
    }
}

/// Where an order is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OrderStatus {
    Pending,
    Paid,
    Completed,
    Cancelled,
    Refunded,
}

impl Machine for OrderStatus {
    const TABLE: &'static str = "orders";
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::Pending, "PENDING"),
        (Self::Paid, "PAID"),
        (Self::Completed, "COMPLETED"),
        (Self::Cancelled, "CANCELLED"),
        (Self::Refunded, "REFUNDED"),
    ];
    const CHANGES: &'static [(Self, Self)] = &[
        (Self::Pending, Self::Paid),
        (Self::Pending, Self::Cancelled),
        (Self::Paid, Self::Completed),
        (Self::Paid, Self::Refunded),
        (Self::Completed, Self::Refunded),
    ];
}

impl From<OrderStatus> for pb::OrderStatus {
    fn from(status: OrderStatus) -> Self {
        match status {
            OrderStatus::Pending => Self::Pending,
            OrderStatus::Paid => Self::Paid,
            OrderStatus::Completed => Self::Completed,
            OrderStatus::Cancelled => Self::Cancelled,
            OrderStatus::Refunded => Self::Refunded,
        }
    }
}

/// Where a payment is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PaymentStatus {
    Pending,
    Success,
    Refunding,
    Refunded,
    Closed,
    Failed,
}

impl Machine for PaymentStatus {
    const TABLE: &'static str = "payments";
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::Pending, "PENDING"),
        (Self::Success, "SUCCESS"),
        (Self::Refunding, "REFUNDING"),
        (Self::Refunded, "REFUNDED"),
        (Self::Closed, "CLOSED"),
        (Self::Failed, "FAILED"),
    ];
    // A payer may be faster than a close or a refusal, and be heard of later.
    const CHANGES: &'static [(Self, Self)] = &[
        (Self::Pending, Self::Success),
        (Self::Pending, Self::Closed),
        (Self::Pending, Self::Failed),
        (Self::Closed, Self::Success),
        (Self::Failed, Self::Success),
        (Self::Success, Self::Refunding),
        (Self::Refunding, Self::Success),
        (Self::Refunding, Self::Refunded),
    ];
}

impl From<PaymentStatus> for pb::PaymentStatus {
    fn from(status: PaymentStatus) -> Self {
        match status {
            PaymentStatus::Pending => Self::Pending,
            PaymentStatus::Success => Self::Success,
            PaymentStatus::Refunding => Self::Refunding,
            PaymentStatus::Refunded => Self::Refunded,
            PaymentStatus::Closed => Self::Closed,
            PaymentStatus::Failed => Self::Failed,
        }
    }
}

/// Where a refund is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefundStatus {
    Pending,
    Processing,
    Succeeded,
    Closed,
    Abnormal,
    Failed,
}

impl Machine for RefundStatus {
    const TABLE: &'static str = "refunds";
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::Pending, "PENDING"),
        (Self::Processing, "PROCESSING"),
        (Self::Succeeded, "SUCCEEDED"),
        (Self::Closed, "CLOSED"),
        (Self::Abnormal, "ABNORMAL"),
        (Self::Failed, "FAILED"),
    ];
    const CHANGES: &'static [(Self, Self)] = &[
        (Self::Pending, Self::Processing),
        (Self::Pending, Self::Failed),
        (Self::Processing, Self::Succeeded),
        (Self::Processing, Self::Closed),
        (Self::Processing, Self::Abnormal),
        (Self::Processing, Self::Failed),
        (Self::Abnormal, Self::Succeeded),
        (Self::Abnormal, Self::Closed),
    ];
}

impl From<RefundStatus> for pb::RefundStatus {
    fn from(status: RefundStatus) -> Self {
        match status {
            RefundStatus::Pending => Self::Pending,
            RefundStatus::Processing => Self::Processing,
            RefundStatus::Succeeded => Self::Succeeded,
            RefundStatus::Closed => Self::Closed,
            RefundStatus::Abnormal => Self::Abnormal,
            RefundStatus::Failed => Self::Failed,
        }
    }
}

/// Where a withdrawal is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WithdrawalStatus {
    Frozen,
    Processing,
    Succeeded,
    Failed,
}

impl Machine for WithdrawalStatus {
    const TABLE: &'static str = "withdrawals";
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::Frozen, "FROZEN"),
        (Self::Processing, "PROCESSING"),
        (Self::Succeeded, "SUCCEEDED"),
        (Self::Failed, "FAILED"),
    ];
    const CHANGES: &'static [(Self, Self)] = &[
        (Self::Frozen, Self::Processing),
        (Self::Frozen, Self::Failed),
        (Self::Processing, Self::Succeeded),
        (Self::Processing, Self::Failed),
    ];
}

impl From<WithdrawalStatus> for pb::WithdrawalStatus {
    fn from(status: WithdrawalStatus) -> Self {
        match status {
            WithdrawalStatus::Frozen => Self::Frozen,
            WithdrawalStatus::Processing => Self::Processing,
            WithdrawalStatus::Succeeded => Self::Succeeded,
            WithdrawalStatus::Failed => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const MIGRATION: &str = include_str!("../../../../migrations/billing/20261121110200_create_plans.sql");

    /// The changes of a machine that the migration writes into `transition`: `('orders', 'PENDING', 'PAID')`.
    fn in_the_database(table: &str) -> BTreeSet<(String, String)> {
        let start = format!("('{table}', ");
        let rows = MIGRATION.split(start.as_str()).skip(1);
        rows.map(|row| {
            let names: Vec<&str> = row.split('\'').collect();
            (names[1].to_owned(), names[3].to_owned())
        })
        .collect()
    }

    fn in_the_code<M: Machine>() -> BTreeSet<(String, String)> {
        M::CHANGES
            .iter()
            .map(|(from, to)| (from.name().to_owned(), to.name().to_owned()))
            .collect()
    }

    #[test]
    fn the_database_and_the_code_know_the_same_changes() {
        assert_eq!(in_the_code::<OrderStatus>(), in_the_database(OrderStatus::TABLE));
        assert_eq!(
            in_the_code::<PaymentStatus>(),
            in_the_database(PaymentStatus::TABLE)
        );
        assert_eq!(
            in_the_code::<RefundStatus>(),
            in_the_database(RefundStatus::TABLE)
        );
        assert_eq!(
            in_the_code::<WithdrawalStatus>(),
            in_the_database(WithdrawalStatus::TABLE)
        );
        assert!(PaymentStatus::Closed.can_become(PaymentStatus::Success));
        assert!(!PaymentStatus::Refunded.can_become(PaymentStatus::Success));
    }

    #[test]
    fn every_status_is_read_as_it_was_written() {
        for (status, name) in PaymentStatus::NAMES {
            assert_eq!(PaymentStatus::from_name(name), Some(*status));
        }
        assert_eq!(PaymentStatus::from_name("PAID"), None);
    }
}
