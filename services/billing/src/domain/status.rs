//! Statuses, and which may follow each other. Triggers of the database refuse every other change; a test compares the two.

use proto::billing::v1 as pb;

/// A status with a table of changes.
pub(crate) trait Machine: Copy + Eq + 'static {
    /// The table that has it, which is also its name in `transition`.
    const TABLE: &'static str;
    /// Every status with its name in the table.
    const NAMES: &'static [(Self, &'static str)];
    /// The changes that exist. Everything else is impossible.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "what the guarded updates follow; a test compares it with the database's"
        )
    )]
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
    #[cfg(test)]
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

    const TABLES: &str = include_str!("../../../../migrations/billing/20261121110200_create_plans.sql");

    type Change = (String, String, String);

    /// Returns the rows that the migration writes into `transition`.
    fn in_database() -> BTreeSet<Change> {
        let (_, rows) = TABLES.split_once("insert into transition").unwrap();
        let (rows, _) = rows.split_once(';').unwrap();
        let (_, rows) = rows.split_once("values").unwrap();
        let rows = rows.lines().map(|line| line.split("--").next().unwrap());
        let text: String = rows.collect();
        let names: Vec<String> = text.split('\'').skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(names.len() % 3, 0);
        names
            .chunks(3)
            .map(|row| (row[0].clone(), row[1].clone(), row[2].clone()))
            .collect()
    }

    fn in_code<M: Machine>() -> impl Iterator<Item = Change> {
        M::CHANGES
            .iter()
            .map(|(from, to)| (M::TABLE.to_owned(), from.name().to_owned(), to.name().to_owned()))
    }

    #[test]
    fn code_and_database_know_the_same_changes() {
        let code: BTreeSet<Change> = in_code::<OrderStatus>()
            .chain(in_code::<PaymentStatus>())
            .chain(in_code::<RefundStatus>())
            .chain(in_code::<WithdrawalStatus>())
            .collect();
        assert_eq!(in_database(), code);
    }

    #[test]
    fn every_status_is_found_by_its_name() {
        fn check<M: Machine + std::fmt::Debug>() {
            for (status, name) in M::NAMES {
                assert_eq!((M::from_name(name), status.name()), (Some(*status), *name));
            }
            assert!(M::from_name("").is_none());
            for (from, to) in M::CHANGES {
                assert!(from.can_become(*to) && from != to);
            }
        }
        check::<OrderStatus>();
        check::<PaymentStatus>();
        check::<RefundStatus>();
        check::<WithdrawalStatus>();
    }
}
