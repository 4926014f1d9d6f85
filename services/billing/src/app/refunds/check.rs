//! Asks the provider about a refund.
//!
//! Until the provider was heard to have taken it, it is asked *for*, again and again under the same number; from then on it
//! is asked *about*. A refusal is believed only if the provider does not know the number afterwards: an earlier call of
//! ours, whose answer was lost, may have been taken. If such a call may still be on its way, it is believed the second
//! time. What the provider has taken it cannot refuse: then a person looks, after `case_after`.

use ids::RefundId;
use pay::{Failure, NewRefund, Number, Provider, Reason, Refusal, Subject as Text};
use sqlx::PgConnection;

use super::apply::{self, Applied};
use super::{NO_REASON, held};
use crate::app::App;
use crate::domain::{Amount, RefundStatus};
use crate::error::Error;
use crate::store::checks::{self, Claim, Next, Subject};
use crate::store::refunds::{self, Known};

/// What the provider answered.
enum Answer {
    /// What it knows of the refund.
    Told(pay::Refund),
    /// It refuses, and does not know the number.
    No(Refusal),
    /// Nothing that says anything.
    Unknown(String),
}

/// A refund in the provider's words.
struct Question {
    new: NewRefund,
    taken: bool,
    abnormal: bool,
}

/// Asks the provider about a refund, and applies what it says. Calls nothing inside a transaction.
pub(crate) async fn check(app: &App, claim: &Claim) -> Result<Next, Error> {
    let id = RefundId::from_uuid(claim.id);
    let known = refunds::find_known(&app.steps_pool, id)
        .await?
        .ok_or(Error::Broken("a check without a refund"))?;
    let question = match known.refund.status {
        RefundStatus::Processing | RefundStatus::Abnormal => question(app, &known)?,
        RefundStatus::Succeeded | RefundStatus::Closed | RefundStatus::Failed => {
            return App::transaction(&app.steps_pool, async |conn| {
                checks::done(conn, Subject::Refund, claim.id).await?;
                Ok(Next::Done)
            })
            .await;
        }
        RefundStatus::Pending => return Err(Error::Broken("a refund is checked before it was called")),
    };
    let answer = ask(app.provider(known.channel)?, &question).await;
    if let Answer::Unknown(text) = &answer
        && known.refund.error.is_none()
    {
        return Ok(Next::Unknown(text.clone()));
    }
    App::transaction(&app.steps_pool, async |conn| take(conn, claim, answer).await).await
}

fn question(app: &App, known: &Known) -> Result<Question, Error> {
    let refund = &known.refund;
    let broken = Error::Broken("a refund's row is not what was checked");
    // Money does not stay where it is because of a word that a provider does not take.
    let reason = Text::new(refund.reason.as_str()).or_else(|_| Text::new(NO_REASON));
    let (Ok(number), Ok(payment), Ok(reason), Some(amount), Some(total)) = (
        Number::new(refund.refund_no.as_str()),
        Number::new(known.channel_order_no.as_str()),
        reason,
        Amount::new(refund.amount),
        Amount::new(known.paid),
    ) else {
        return Err(broken);
    };
    let new = NewRefund {
        number,
        payment,
        amount: amount.money(),
        total: total.money(),
        reason,
        notify_url: format!("{}/{}", app.config.notify_url, known.channel.name()),
    };
    Ok(Question {
        new,
        taken: refund.taken_at.is_some(),
        abnormal: refund.status == RefundStatus::Abnormal,
    })
}

async fn ask(provider: &dyn Provider, question: &Question) -> Answer {
    let new = &question.new;
    if question.taken {
        match provider.query_refund(&new.number, &new.payment).await {
            Ok(told) => return Answer::Told(told),
            // It was lost there; the same number asks for the same refund. Not if a person has to act on it there.
            Err(Failure::Refused(refusal)) if refusal.reason == Reason::NotFound && !question.abnormal => {}
            Err(failure) => return Answer::Unknown(failure.to_string()),
        }
    }
    let refusal = match provider.refund(new).await {
        Ok(told) => return Answer::Told(told),
        Err(Failure::Unknown(doubt)) => return Answer::Unknown(doubt.to_string()),
        Err(Failure::Refused(refusal)) => refusal,
    };
    match provider.query_refund(&new.number, &new.payment).await {
        Ok(told) => Answer::Told(told),
        Err(failure) if failure.reason() == Some(Reason::NotFound) => Answer::No(refusal),
        Err(failure) => Answer::Unknown(format!("refused ({refusal}), and then: {failure}")),
    }
}

/// Writes down what was learned, unless somebody else has learned the outcome meanwhile.
async fn take(conn: &mut PgConnection, claim: &Claim, answer: Answer) -> Result<Next, Error> {
    let id = RefundId::from_uuid(claim.id);
    let known = refunds::lock_known(conn, id)
        .await?
        .ok_or(Error::Broken("a check without a refund"))?;
    if !checks::still_mine(conn, claim).await? {
        return Ok(Next::Done);
    }
    match answer {
        Answer::Told(told) => hear(conn, &known, &told).await,
        Answer::No(refusal) => refuse(conn, claim, &known, &refusal).await,
        Answer::Unknown(text) => {
            // What the provider refused before, it may have taken since.
            refunds::remember_refusal(conn, id, None).await?;
            Ok(Next::Unknown(text))
        }
    }
}

async fn hear(conn: &mut PgConnection, known: &Known, told: &pay::Refund) -> Result<Next, Error> {
    let first = known.refund.taken_at.is_none();
    match apply::to(conn, known, told, "check").await? {
        Applied::Held(why) => Ok(Next::Unknown(format!("the provider's answer is {why}"))),
        Applied::Changed | Applied::Unchanged => Ok(match told.state {
            pay::RefundState::Succeeded | pay::RefundState::Closed => Next::Done,
            pay::RefundState::Processing if first => Next::Soon,
            pay::RefundState::Processing | pay::RefundState::Abnormal => Next::Later,
        }),
    }
}

async fn refuse(
    conn: &mut PgConnection,
    claim: &Claim,
    known: &Known,
    refusal: &Refusal,
) -> Result<Next, Error> {
    let text = refusal.to_string();
    let was_taken = known.refund.taken_at.is_some() || known.refund.status != RefundStatus::Processing;
    if may_pass(refusal.reason) || was_taken {
        return Ok(Next::Unknown(text));
    }
    let may_be_on_its_way = checks::unknown_for(conn, claim).await?.is_some();
    if may_be_on_its_way && known.refund.error.as_deref() != Some(&text) {
        refunds::remember_refusal(conn, known.refund.id, Some(&text)).await?;
        return Ok(Next::Unknown(text));
    }
    let change = (RefundStatus::Processing, RefundStatus::Failed);
    held(refunds::change(conn, known.refund.id, change, Some(&text), None).await?)?;
    checks::done(conn, Subject::Refund, claim.id).await?;
    tracing::warn!(
        refund_id = %known.refund.id,
        saga_id = %known.refund.saga_id,
        refusal = text,
        "a provider refused a refund"
    );
    Ok(Next::Done)
}

/// Says whether the same refund may be taken later: a person can top up the account, and limits are of a day.
const fn may_pass(reason: Reason) -> bool {
    match reason {
        Reason::NotEnough | Reason::Limit | Reason::NotReady => true,
        Reason::AlreadyPaid
        | Reason::Closed
        | Reason::NotFound
        | Reason::Mismatch
        | Reason::Amount
        | Reason::State
        | Reason::Expired
        | Reason::Account
        | Reason::Forbidden
        | Reason::Invalid => false,
    }
}
