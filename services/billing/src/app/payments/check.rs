//! Asking a channel about a payment. What is asked follows from the row alone ([`ask`]), so a worker that dies anywhere
//! leaves nothing behind but its lease.

use std::time::Duration;

use barrier::Guard;
use ids::PaymentId;
use pay::{Failure, Number, Outcome, PaymentState, Reason};
use serde_json::json;
use sqlx::PgConnection;

use super::settle::settle_locked;
use super::{Settled, Source, end_unpaid, lock};
use crate::app::App;
use crate::domain::{Amount, Ask, Known, PaymentStatus, ask};
use crate::error::Error;
use crate::events::tell;
use crate::store;
use crate::store::cases::{self, CaseKind, NewCase};
use crate::store::checks::{self, Claim, Next, Subject};
use crate::store::payments::{Payment, Timed};

/// Longest subject of a payment, in bytes.
const MAX_SUBJECT_BYTES: usize = 127;

/// Asks the provider about a payment, and applies what it says. Calls nothing inside a transaction.
pub(crate) async fn check(app: &App, claim: &Claim) -> Result<Next, Error> {
    let found = store::payments::find_timed(&app.steps_pool, PaymentId::from_uuid(claim.id)).await?;
    let Timed { payment, left } = found.ok_or(Error::NoPayment)?;
    let at = Known {
        status: payment.status,
        called: payment.saga_step.is_some(),
        has_url: payment.payment_url.is_some(),
        closing: payment.closing.is_some(),
        expired: left.is_zero(),
    };
    let next = match ask(at) {
        Ask::Nothing => forget(app, claim).await?,
        Ask::NotYet => Next::Within(left),
        Ask::CloseHere => close_here(app, claim, &payment, Duration::ZERO).await?,
        Ask::Create => create(app, claim, &payment).await?,
        Ask::Query => {
            let told = query(app, &payment).await?;
            learn(app, claim, &payment, told, left).await?
        }
        Ask::Close => close(app, claim, &payment, left).await?,
    };
    if let Next::Unknown(error) = &next
        && is_too_long(app, claim.unknown_for)
    {
        raise(app, claim, error).await?;
    }
    Ok(next)
}

fn number(payment: &Payment) -> Result<Number, Error> {
    Number::new(&payment.channel_order_no).map_err(|_| Error::Broken("a number that no provider takes"))
}

async fn query(app: &App, payment: &Payment) -> Result<Outcome<pay::Payment>, Error> {
    let number = number(payment)?;
    Ok(app.provider(payment.channel)?.query(&number).await)
}

/// Tells the channel of the payment. The same content every time: a repetition finds what the first call made.
async fn create(app: &App, claim: &Claim, payment: &Payment) -> Result<Next, Error> {
    let title = store::orders::title(&app.steps_pool, payment.order_id).await?;
    let amount = Amount::new(payment.amount).ok_or(Error::Broken("an amount that no provider takes"))?;
    let order = pay::NewPayment {
        number: number(payment)?,
        amount: amount.money(),
        subject: subject(title.as_deref().unwrap_or_default(), &payment.payment_no)?,
        expires_at: payment.expires_at,
        notify_url: format!("{}/{}", app.config.notify_url, payment.channel.name()),
    };
    match app.provider(payment.channel)?.create(&order).await {
        Ok(code) => show(app, claim, payment, &code.url).await,
        Err(Failure::Unknown(doubt)) => Ok(Next::Unknown(doubt.to_string())),
        Err(Failure::Refused(refusal)) => match refusal.reason {
            // It is there, and not as it was left: only the channel can say how.
            Reason::AlreadyPaid | Reason::Closed | Reason::State => {
                let told = query(app, payment).await?;
                if told.as_ref().is_ok_and(|told| told.state == PaymentState::Pending) {
                    return Ok(Next::Unknown(refusal.to_string()));
                }
                learn(app, claim, payment, told, Duration::ZERO).await
            }
            Reason::NotReady => Ok(Next::Unknown(refusal.to_string())),
            Reason::NotFound
            | Reason::Mismatch
            | Reason::NotEnough
            | Reason::Amount
            | Reason::Expired
            | Reason::Limit
            | Reason::Account
            | Reason::Forbidden
            // If an earlier call made it there all the same, nobody has seen what to scan.
            | Reason::Invalid => fail(app, claim, payment, &refusal.to_string()).await,
        },
    }
}

/// Makes a subject of a title: without what providers forbid, and cut.
fn subject(title: &str, otherwise: &str) -> Result<pay::Subject, Error> {
    let allowed: String = title
        .chars()
        .filter(|c| !c.is_control() && !"/=&,`\"".contains(*c))
        .collect();
    let cut = allowed[..allowed.floor_char_boundary(MAX_SUBJECT_BYTES)].trim();
    pay::Subject::new(if cut.is_empty() { otherwise } else { cut })
        .map_err(|_| Error::Broken("a subject that no provider takes"))
}

/// Shows the payer what to scan, if the step that wanted it still stands.
async fn show(app: &App, claim: &Claim, payment: &Payment, url: &str) -> Result<Next, Error> {
    let step = payment.saga_step.as_deref().unwrap_or_default();
    App::transaction(&app.steps_pool, async |conn| {
        match barrier::guard(conn, payment.saga_id, step, 0).await? {
            Guard::Wanted => {}
            // It was undone meanwhile: that it is to be closed is in the row.
            Guard::Superseded => return Ok(Next::Now),
            Guard::Absent => return Ok(Next::Unknown("no step wants it shown".to_owned())),
        }
        lock(conn, payment.id).await?.ok_or(Error::NoPayment)?;
        if !checks::still_mine(conn, claim).await? {
            return Ok(Next::Now);
        }
        let shown = store::payments::set_url(conn, payment.id, url).await?;
        Ok(if shown { Next::Soon } else { Next::Now })
    })
    .await
}

/// The channel does not take the payment.
async fn fail(app: &App, claim: &Claim, payment: &Payment, reason: &str) -> Result<Next, Error> {
    App::transaction(&app.steps_pool, async |conn| {
        let (order, payment) = lock(conn, payment.id).await?.ok_or(Error::NoPayment)?;
        if !checks::still_mine(conn, claim).await? {
            return Ok(Next::Now);
        }
        end_unpaid(conn, &order, &payment, PaymentStatus::Failed, reason).await?;
        checks::done(conn, Subject::Payment, payment.id.uuid()).await?;
        Ok(Next::Done)
    })
    .await
}

/// Closes the payment at the channel, and asks what it came to: somebody may have been faster.
async fn close(app: &App, claim: &Claim, payment: &Payment, left: Duration) -> Result<Next, Error> {
    let number = number(payment)?;
    let closed = match app.provider(payment.channel)?.close(&number).await {
        Ok(()) => true,
        Err(Failure::Refused(_)) => false,
        Err(Failure::Unknown(doubt)) => return Ok(Next::Unknown(doubt.to_string())),
    };
    // Once it is closed there, nothing can come any more.
    let left = if closed { Duration::ZERO } else { left };
    match query(app, payment).await? {
        Err(failure) if failure.reason() == Some(Reason::NotFound) => {
            close_here(app, claim, payment, left).await
        }
        Ok(told) if told.state == PaymentState::Pending => Ok(Next::Later),
        told => learn(app, claim, payment, told, left).await,
    }
}

/// The channel does not know the payment. It is closed here; while it could still be scanned it is asked for, and goes back
/// or is taken as late as it comes.
async fn close_here(app: &App, claim: &Claim, payment: &Payment, left: Duration) -> Result<Next, Error> {
    App::transaction(&app.steps_pool, async |conn| {
        let (order, payment) = lock(conn, payment.id).await?.ok_or(Error::NoPayment)?;
        if !checks::still_mine(conn, claim).await? {
            return Ok(Next::Now);
        }
        let why = payment.closing.as_deref().unwrap_or("EXPIRED");
        end_unpaid(conn, &order, &payment, PaymentStatus::Closed, why).await?;
        if !left.is_zero() {
            return Ok(Next::Within(left));
        }
        checks::done(conn, Subject::Payment, payment.id.uuid()).await?;
        Ok(Next::Done)
    })
    .await
}

/// Applies what a query has answered.
async fn learn(
    app: &App,
    claim: &Claim,
    payment: &Payment,
    told: Outcome<pay::Payment>,
    left: Duration,
) -> Result<Next, Error> {
    let told = match told {
        Ok(told) => told,
        // Not paid so far; some channels know a payment only after its code was scanned.
        Err(failure) if failure.reason() == Some(Reason::NotFound) && !left.is_zero() => {
            return Ok(Next::Within(left));
        }
        Err(failure) => return Ok(Next::Unknown(failure.to_string())),
    };
    App::transaction(&app.steps_pool, async |conn| {
        let (order, payment) = lock(conn, payment.id).await?.ok_or(Error::NoPayment)?;
        if !checks::still_mine(conn, claim).await? {
            return Ok(Next::Now);
        }
        match settle_locked(conn, &order, &payment, &told, Source::Query).await? {
            // The channel contradicts our books: it is asked on, and a person was told.
            Settled::Held(_) => Ok(Next::Later),
            Settled::Unchanged | Settled::Changed if told.state == PaymentState::Pending => {
                Ok(Next::Within(left))
            }
            Settled::Unchanged | Settled::Changed => Ok(Next::Done),
        }
    })
    .await
}

/// Nothing is left to ask.
async fn forget(app: &App, claim: &Claim) -> Result<Next, Error> {
    App::transaction(&app.steps_pool, async |conn| {
        lock(conn, PaymentId::from_uuid(claim.id)).await?;
        if checks::still_mine(conn, claim).await? {
            checks::done(conn, Subject::Payment, claim.id).await?;
        }
        Ok(Next::Done)
    })
    .await
}

fn is_too_long(app: &App, unknown_for: Option<Duration>) -> bool {
    unknown_for.is_some_and(|time| time >= app.config.case_after)
}

/// Tells a person that the outcome has been unknown for too long. Once for each case; asking goes on.
async fn raise(app: &App, claim: &Claim, error: &str) -> Result<(), Error> {
    App::transaction(&app.steps_pool, async |conn| {
        let id = PaymentId::from_uuid(claim.id);
        let (_, payment) = lock(conn, id).await?.ok_or(Error::NoPayment)?;
        // Read now: somebody may have learned the outcome, or closed a case, since the check was taken.
        if checks::still_mine(conn, claim).await? && is_too_long(app, checks::unknown_for(conn, claim).await?)
        {
            open_case(conn, &payment, error).await?;
        }
        Ok(())
    })
    .await
}

async fn open_case(conn: &mut PgConnection, payment: &Payment, error: &str) -> Result<(), Error> {
    let case = NewCase {
        kind: CaseKind::UnknownOutcome,
        channel: payment.channel,
        subject: Subject::Payment,
        subject_id: payment.id.uuid(),
        number: &payment.channel_order_no,
        detail: error,
    };
    if cases::open(conn, &case).await? {
        let data = json!({
            "paymentId": payment.id.to_string(),
            "orderId": payment.order_id.to_string(),
            "userId": payment.user_id.to_string(),
            "channel": payment.channel.name(),
        });
        tell(conn, "payment.unknown", payment.order_id.to_string(), data).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_title_becomes_a_subject_that_providers_take() {
        assert_eq!(
            subject("Pro, 12 \"months\"/year", "PAY1").unwrap().as_str(),
            "Pro 12 monthsyear"
        );
        assert_eq!(subject(",\n", "PAY1").unwrap().as_str(), "PAY1");
        assert_eq!(
            subject(&"会".repeat(60), "PAY1").unwrap().as_str(),
            "会".repeat(42)
        );
    }

    proptest! {
        #[test]
        fn every_title_becomes_a_subject(title in ".{0,200}") {
            prop_assert!(subject(&title, "PAY1").is_ok());
        }
    }
}
