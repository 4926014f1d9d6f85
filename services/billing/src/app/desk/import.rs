//! Compares a provider's statement of a day with our books.
//!
//! The statement is in memory as a whole, which [`pay`] bounds; our books are read in pages, and differences are written as
//! they are found.

use std::collections::HashMap;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use pay::{Bill, Reason, RefundState};
use sqlx::PgConnection;
use uuid::Uuid;

use super::super::App;
use crate::domain::{Channel, Line, bounds, compare, today};
use crate::error::Error;
use crate::store::checks::Subject;
use crate::store::differences::{self, Import};
use crate::store::statements::{self, Booked, NewStatement, Place, Statement};

/// How far back statements are compared, in days. Providers keep them a little longer; of older days they say that there
/// was nothing.
const MAX_AGE_DAYS: i64 = 90;
/// How much is read and compared at once.
const AT_ONCE: i64 = 500;

/// A day of a channel that has passed in Beijing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Day {
    pub(crate) channel: Channel,
    pub(crate) day: NaiveDate,
    /// It may be that the provider has not made the statement so far.
    is_fresh: bool,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl Day {
    /// Checks a day.
    pub(crate) fn new(channel: Channel, day: NaiveDate, now: DateTime<Utc>) -> Result<Self, Error> {
        let age = today(now).signed_duration_since(day).num_days();
        let (start, end) =
            bounds(day)
                .filter(|_| (1..=MAX_AGE_DAYS).contains(&age))
                .ok_or(Error::Invalid {
                    field: "day",
                    problem: "must be one of the last 90 days in Beijing, not today",
                })?;
        Ok(Self {
            channel,
            day,
            is_fresh: age == 1,
            start,
            end,
        })
    }
}

/// Lines of a statement by their numbers.
type Lines = HashMap<String, Line>;

/// Fetches a statement and compares it. May be repeated: what is no difference any more goes, what a person has resolved
/// stays.
pub(crate) async fn import(app: &App, day: &Day) -> Result<Statement, Error> {
    let bill = match app.provider(day.channel)?.bill(day.day).await {
        Ok(bill) => bill,
        Err(failure) => match failure.reason() {
            // Nothing happened, or it is not made so far: then our books of the day have nothing either.
            Some(Reason::NotFound) if !day.is_fresh || is_idle(app, day).await? => Bill {
                day: day.day,
                lines: Vec::new(),
            },
            Some(Reason::NotReady | Reason::NotFound) => return Err(Error::NoStatement(failure.to_string())),
            _ => return Err(Error::Provider(failure.to_string())),
        },
    };
    let import = Import {
        channel: day.channel,
        day: day.day,
        import_id: Uuid::now_v7(),
    };
    let new = summary(&import, &bill)?;
    let (payments, refunds) = lines(bill)?;
    App::transaction(&app.steps_pool, async |conn| {
        statements::put(conn, &new).await?;
        for (subject, lines) in [(Subject::Payment, &payments), (Subject::Refund, &refunds)] {
            compare_lines(conn, &import, subject, lines).await?;
            compare_books(conn, &import, day, subject, lines).await?;
        }
        differences::delete_others(conn, &import).await?;
        let written = statements::find(conn, day.channel, day.day).await?;
        written.ok_or(Error::Broken("a statement that was written is not there"))
    })
    .await
}

async fn is_idle(app: &App, day: &Day) -> Result<bool, Error> {
    let place = before(day);
    let payments = statements::payments(&app.steps_pool, day.channel, day.end, place, 1).await?;
    let refunds = (day.start, day.end);
    let refunds = statements::refunds(&app.steps_pool, day.channel, refunds, place, 1).await?;
    Ok(payments.is_empty() && refunds.is_empty())
}

/// The place before everything of a day.
fn before(day: &Day) -> Place {
    (day.start - TimeDelta::microseconds(1), Uuid::max())
}

const TOO_MUCH: Error = Error::Broken("a statement has sums that do not fit");

fn summary(import: &Import, bill: &Bill) -> Result<NewStatement, Error> {
    let (mut paid, mut refunded) = (0_i64, 0_i64);
    for line in &bill.lines {
        let sum = match &line.refund {
            None => &mut paid,
            // No money went back.
            Some((_, RefundState::Closed)) => continue,
            Some((_, RefundState::Processing | RefundState::Succeeded | RefundState::Abnormal)) => {
                &mut refunded
            }
        };
        *sum = sum.checked_add(line.amount.amount_minor).ok_or(TOO_MUCH)?;
    }
    Ok(NewStatement {
        channel: import.channel,
        day: import.day,
        lines: i32::try_from(bill.lines.len()).map_err(|_| TOO_MUCH)?,
        paid_minor: paid,
        refunded_minor: refunded,
        import_id: import.import_id,
    })
}

/// Puts payments and refunds in order of their numbers; a number that is there twice is one line.
fn lines(bill: Bill) -> Result<(Lines, Lines), Error> {
    let (mut payments, mut refunds) = (Lines::new(), Lines::new());
    for line in bill.lines {
        let (of, number, refund) = match line.refund {
            None => (&mut payments, line.payment, None),
            Some((number, state)) => (&mut refunds, number, Some(state)),
        };
        let sum = of.entry(number).or_insert(Line { amount: 0, refund });
        sum.amount = sum.amount.checked_add(line.amount.amount_minor).ok_or(TOO_MUCH)?;
        sum.refund = refund;
    }
    Ok((payments, refunds))
}

/// Compares what the statement has with what we have of it, whenever that was.
async fn compare_lines(
    conn: &mut PgConnection,
    import: &Import,
    subject: Subject,
    lines: &Lines,
) -> Result<(), Error> {
    let all: Vec<&String> = lines.keys().collect();
    for part in all.chunks(usize::try_from(AT_ONCE).unwrap_or(1)) {
        let numbers: Vec<String> = part.iter().map(|number| (*number).clone()).collect();
        let books = match subject {
            Subject::Payment => statements::payments_by_number(&mut *conn, import.channel, &numbers).await?,
            Subject::Refund => statements::refunds_by_number(&mut *conn, import.channel, &numbers).await?,
            Subject::Withdrawal => return Err(Error::Broken("statements have no withdrawals")),
        };
        let mut found = Vec::new();
        for number in numbers {
            let differences = compare(lines.get(&number).copied(), books.get(&number).copied());
            found.extend(
                differences
                    .into_iter()
                    .map(|difference| (number.clone(), difference)),
            );
        }
        differences::put(conn, import, subject.name(), &found).await?;
    }
    Ok(())
}

/// Looks for what we have of the day and the statement does not.
async fn compare_books(
    conn: &mut PgConnection,
    import: &Import,
    day: &Day,
    subject: Subject,
    lines: &Lines,
) -> Result<(), Error> {
    let mut place = before(day);
    loop {
        let books: Vec<Booked> = match subject {
            Subject::Payment => {
                statements::payments(&mut *conn, day.channel, day.end, place, AT_ONCE).await?
            }
            Subject::Refund => {
                let bounds = (day.start, day.end);
                statements::refunds(&mut *conn, day.channel, bounds, place, AT_ONCE).await?
            }
            Subject::Withdrawal => return Err(Error::Broken("statements have no withdrawals")),
        };
        let Some(last) = books.last() else {
            return Ok(());
        };
        place = (last.at, last.id);
        let mut found = Vec::new();
        for booked in books {
            if !lines.contains_key(&booked.number) {
                let differences = compare(None, Some(booked.book));
                found.extend(
                    differences
                        .into_iter()
                        .map(|difference| (booked.number.clone(), difference)),
                );
            }
        }
        differences::put(conn, import, subject.name(), &found).await?;
    }
}
