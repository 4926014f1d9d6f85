//! What a provider's statement of a day and our books say of one thing, and whether that agrees.

use chrono::{DateTime, Days, FixedOffset, NaiveDate, TimeDelta, Utc};
use pay::RefundState;

use super::{Machine as _, PaymentStatus, RefundStatus};

/// Hour of the day, in Beijing, from which on the statement of the day before is there.
const READY_HOUR: i64 = 10;
/// Most days that are made up for.
const MAX_DAYS: u64 = 7;

/// A payment or a refund in a statement. A number that is there more than once is one line with the sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) amount: i64,
    /// Where it stands, if it is a refund.
    pub(crate) refund: Option<RefundState>,
}

/// A payment or a refund in our books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Book {
    pub(crate) amount: i64,
    pub(crate) status: BookStatus,
}

/// Where it stands in our books.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BookStatus {
    Payment(PaymentStatus),
    Refund(RefundStatus),
}

impl BookStatus {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Payment(status) => status.name(),
            Self::Refund(status) => status.name(),
        }
    }
}

/// How a statement and our books differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DifferenceKind {
    /// We have it, the provider does not.
    MissingThere,
    /// The provider has it, we do not.
    MissingHere,
    /// Both have it, with different amounts.
    Amount,
    /// Both have it, and it ended differently.
    Status,
}

impl DifferenceKind {
    const ALL: [Self; 4] = [Self::MissingThere, Self::MissingHere, Self::Amount, Self::Status];

    /// Returns the name in the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::MissingThere => "MISSING_THERE",
            Self::MissingHere => "MISSING_HERE",
            Self::Amount => "AMOUNT",
            Self::Status => "STATUS",
        }
    }

    /// Reads a name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) kind: DifferenceKind,
    pub(crate) ours: Option<i64>,
    pub(crate) theirs: Option<i64>,
    pub(crate) detail: String,
}

/// Compares what a statement and our books say of one number. Both may differ in amount and in status.
pub(crate) fn compare(line: Option<Line>, book: Option<Book>) -> Vec<Difference> {
    let found = |kind, detail| Difference {
        kind,
        ours: book.map(|book| book.amount),
        theirs: line.map(|line| line.amount),
        detail,
    };
    match (line, book) {
        (None, None) => Vec::new(),
        (None, Some(book)) => {
            let detail = format!("ours is {}, and the statement has none", book.status.name());
            vec![found(DifferenceKind::MissingThere, detail)]
        }
        (Some(line), None) => {
            let detail = format!("the statement has {}, and we have none", there(line.refund));
            vec![found(DifferenceKind::MissingHere, detail)]
        }
        (Some(line), Some(book)) => {
            let mut all = Vec::new();
            if line.amount != book.amount {
                all.push(found(DifferenceKind::Amount, "the amounts differ".to_owned()));
            }
            if !agree(line.refund, book.status) {
                let detail = format!(
                    "the statement has {}, ours is {}",
                    there(line.refund),
                    book.status.name()
                );
                all.push(found(DifferenceKind::Status, detail));
            }
            all
        }
    }
}

/// Tells whether a status of ours can be what became of a line. The statement is older than our status.
fn agree(refund: Option<RefundState>, ours: BookStatus) -> bool {
    match (refund, ours) {
        (None, BookStatus::Payment(status)) => match status {
            PaymentStatus::Success | PaymentStatus::Refunding | PaymentStatus::Refunded => true,
            PaymentStatus::Pending | PaymentStatus::Closed | PaymentStatus::Failed => false,
        },
        (Some(state), BookStatus::Refund(status)) => match (state, status) {
            (RefundState::Succeeded, RefundStatus::Succeeded)
            | (RefundState::Closed, RefundStatus::Closed | RefundStatus::Failed)
            | (
                RefundState::Processing,
                RefundStatus::Processing
                | RefundStatus::Succeeded
                | RefundStatus::Closed
                | RefundStatus::Abnormal,
            )
            | (
                RefundState::Abnormal,
                RefundStatus::Abnormal | RefundStatus::Succeeded | RefundStatus::Closed,
            ) => true,
            (
                RefundState::Succeeded
                | RefundState::Closed
                | RefundState::Processing
                | RefundState::Abnormal,
                RefundStatus::Pending
                | RefundStatus::Processing
                | RefundStatus::Succeeded
                | RefundStatus::Closed
                | RefundStatus::Abnormal
                | RefundStatus::Failed,
            ) => false,
        },
        (None, BookStatus::Refund(_)) | (Some(_), BookStatus::Payment(_)) => false,
    }
}

const fn there(refund: Option<RefundState>) -> &'static str {
    match refund {
        None => "a payment",
        Some(RefundState::Processing) => "a refund under way",
        Some(RefundState::Succeeded) => "a refund that arrived",
        Some(RefundState::Closed) => "a refund that was closed",
        Some(RefundState::Abnormal) => "a refund that the payer's bank did not take",
    }
}

/// Returns the newest day, in Beijing, whose statement is there.
pub(crate) fn newest_day(now: DateTime<Utc>) -> NaiveDate {
    let yesterday = now - TimeDelta::hours(READY_HOUR) - TimeDelta::days(1);
    yesterday.with_timezone(&beijing()).date_naive()
}

/// Returns the days to import, oldest first: those since the last one that was imported, and the newest only if none was.
pub(crate) fn due_days(now: DateTime<Utc>, imported: Option<NaiveDate>) -> Vec<NaiveDate> {
    let newest = newest_day(now);
    let days = (0..MAX_DAYS)
        .rev()
        .filter_map(|back| newest.checked_sub_days(Days::new(back)));
    days.filter(|day| imported.map_or(*day == newest, |imported| *day > imported))
        .collect()
}

/// Returns the moments at which a day in Beijing begins and ends.
pub(crate) fn bounds(day: NaiveDate) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let midnight = |day: NaiveDate| {
        let local = day.and_hms_opt(0, 0, 0)?.and_local_timezone(beijing()).single()?;
        Some(local.with_timezone(&Utc))
    };
    Some((midnight(day)?, midnight(day.checked_add_days(Days::new(1))?)?))
}

/// Returns the day in Beijing.
pub(crate) fn today(now: DateTime<Utc>) -> NaiveDate {
    now.with_timezone(&beijing()).date_naive()
}

/// China has one time and no summer time.
fn beijing() -> FixedOffset {
    FixedOffset::east_opt(8 * 60 * 60).expect("eight hours are less than a day")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    #[test]
    fn yesterdays_statement_is_there_from_ten_oclock_in_beijing() {
        assert_eq!(newest_day(at("2026-11-21T01:59:59Z")), day("2026-11-19"));
        assert_eq!(newest_day(at("2026-11-21T02:00:00Z")), day("2026-11-20"));
        // It is the 22nd in Beijing, too early for the statement of the 21st.
        assert_eq!(newest_day(at("2026-11-21T16:00:00Z")), day("2026-11-20"));
    }

    #[test]
    fn days_that_were_missed_are_made_up_for() {
        let now = at("2026-11-21T03:00:00Z");
        assert_eq!(due_days(now, None), [day("2026-11-20")]);
        assert_eq!(due_days(now, Some(day("2026-11-20"))), []);
        assert_eq!(
            due_days(now, Some(day("2026-11-18"))),
            [day("2026-11-19"), day("2026-11-20")]
        );
        assert_eq!(due_days(now, Some(day("2025-01-01"))).len(), 7);
    }

    #[test]
    fn a_day_is_that_of_beijing() {
        let (start, end) = bounds(day("2026-11-20")).unwrap();
        assert_eq!(
            (start, end),
            (at("2026-11-19T16:00:00Z"), at("2026-11-20T16:00:00Z"))
        );
        assert_eq!((today(start), today(end)), (day("2026-11-20"), day("2026-11-21")));
    }

    #[test]
    fn each_class_of_difference_is_named() {
        let line = Line {
            amount: 100,
            refund: None,
        };
        let paid = Book {
            amount: 100,
            status: BookStatus::Payment(PaymentStatus::Success),
        };
        let closed = Book {
            amount: 99,
            status: BookStatus::Payment(PaymentStatus::Closed),
        };
        let kinds = |line, book| {
            compare(line, book)
                .iter()
                .map(|found| found.kind)
                .collect::<Vec<_>>()
        };
        assert_eq!(kinds(Some(line), Some(paid)), []);
        assert_eq!(kinds(None, Some(paid)), [DifferenceKind::MissingThere]);
        assert_eq!(kinds(Some(line), None), [DifferenceKind::MissingHere]);
        assert_eq!(
            kinds(Some(line), Some(closed)),
            [DifferenceKind::Amount, DifferenceKind::Status]
        );
    }

    #[test]
    fn money_that_moved_there_has_to_have_moved_here() {
        let refunds = RefundStatus::NAMES.iter().map(|(status, _)| *status);
        let agreeing: Vec<_> = refunds
            .filter(|status| agree(Some(RefundState::Succeeded), BookStatus::Refund(*status)))
            .collect();
        assert_eq!(agreeing, [RefundStatus::Succeeded]);
        assert!(!agree(
            Some(RefundState::Closed),
            BookStatus::Refund(RefundStatus::Succeeded)
        ));
        // The statement was written before it arrived.
        assert!(agree(
            Some(RefundState::Processing),
            BookStatus::Refund(RefundStatus::Succeeded)
        ));
    }
}
