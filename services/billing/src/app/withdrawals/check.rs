//! Asks a provider about a withdrawal.

use std::time::Duration;

use pay::{Failure, NewTransfer, Number, Provider, Reason, Subject as Remark, Transfer, TransferState};

use super::super::App;
use super::apply::{self, Applied, apply_locked};
use super::lock;
use super::payee;
use crate::domain::WithdrawalStatus;
use crate::error::Error;
use crate::store::cases::{self, CaseKind, NewCase};
use crate::store::checks::{self, Claim, Next, Subject};
use crate::store::withdrawals::{self, Withdrawal};

/// Longest that the provider is asked, well within the lease of the check: while there is a lease, no person settles it.
const ASK_WITHIN: Duration = Duration::from_secs(20);
/// What the recipient reads.
const REMARK: &str = "佣金提现";

/// What a provider said.
#[derive(Debug)]
enum Heard {
    /// Where the transfer stands.
    Told(Transfer),
    /// It has none, and takes none.
    Refused(String),
    /// Nothing that helps.
    Unknown(String),
}

/// Asks the provider about a withdrawal, and applies what it says. Calls nothing inside a transaction.
pub(crate) async fn check(app: &App, claim: &Claim) -> Result<Next, Error> {
    let id = ids::WithdrawalId::from_uuid(claim.id);
    let found = withdrawals::find(&app.steps_pool, id).await?;
    let withdrawal = found.ok_or(Error::Broken("a check without a withdrawal"))?;
    let heard = match withdrawal.status {
        WithdrawalStatus::Processing => hear(app, claim, &withdrawal).await.unwrap_or_else(|error| {
            tracing::warn!(
                withdrawal_id = %id,
                error = barrier::chain(&error),
                "a provider cannot be asked about a withdrawal"
            );
            Heard::Unknown(error.to_string())
        }),
        WithdrawalStatus::Frozen | WithdrawalStatus::Succeeded | WithdrawalStatus::Failed => {
            Heard::Unknown("nothing is to be asked".to_owned())
        }
    };
    App::transaction(&app.steps_pool, async |conn| {
        let withdrawal = lock(conn, id).await?;
        if !checks::still_mine(conn, claim).await? {
            return Ok(Next::Later);
        }
        if withdrawal.status != WithdrawalStatus::Processing {
            checks::done(conn, Subject::Withdrawal, claim.id).await?;
            return Ok(Next::Done);
        }
        match heard {
            Heard::Told(told) => match apply_locked(conn, &withdrawal, &told).await? {
                Applied::Unchanged | Applied::Held(_) => Ok(Next::Later),
                Applied::Changed => match told.state {
                    TransferState::Processing | TransferState::AwaitingRecipient { .. } => Ok(Next::Soon),
                    TransferState::Succeeded | TransferState::Failed { .. } => Ok(Next::Done),
                },
            },
            Heard::Refused(why) => {
                apply::failed(conn, &withdrawal, None, &why).await?;
                Ok(Next::Done)
            }
            Heard::Unknown(why) => {
                // Read now: a person may have closed a case since the check was taken.
                let unknown_for = checks::unknown_for(conn, claim).await?;
                if unknown_for.is_some_and(|time| time >= app.config.case_after) {
                    let case = NewCase {
                        kind: CaseKind::UnknownOutcome,
                        channel: withdrawal.channel,
                        subject: Subject::Withdrawal,
                        subject_id: claim.id,
                        number: &withdrawal.withdrawal_no,
                        detail: &why,
                    };
                    cases::open(conn, &case).await?;
                }
                Ok(Next::Unknown(why))
            }
        }
    })
    .await
}

/// Asks the provider, for a bounded time.
async fn hear(app: &App, claim: &Claim, withdrawal: &Withdrawal) -> Result<Heard, Error> {
    let provider = app.provider(withdrawal.channel)?;
    let transfer = transfer(app, withdrawal).await?;
    let asked = ask(provider, claim, withdrawal, &transfer);
    let heard = tokio::time::timeout(ASK_WITHIN, asked).await;
    Ok(heard.unwrap_or_else(|_| Heard::Unknown("the provider is too slow".to_owned())))
}

async fn transfer(app: &App, withdrawal: &Withdrawal) -> Result<NewTransfer, Error> {
    let payee = payee::find(app, &app.steps_pool, withdrawal.id).await?;
    Ok(NewTransfer {
        number: Number::new(withdrawal.withdrawal_no.as_str())
            .map_err(|_| Error::Broken("a number of ours is none"))?,
        recipient: payee.recipient(),
        amount: withdrawal.amount.money(),
        remark: Remark::new(REMARK).map_err(|_| Error::Broken("the remark is none"))?,
        notify_url: format!("{}/{}", app.config.notify_url, withdrawal.channel.name()),
    })
}

/// Sends the transfer, or asks about it if it may have been sent. A refusal is believed once the provider says as well that
/// it has no such transfer: a worker that died may have sent it before.
async fn ask(
    provider: &dyn Provider,
    claim: &Claim,
    withdrawal: &Withdrawal,
    transfer: &NewTransfer,
) -> Heard {
    let is_first = claim.tries == 0 && claim.unknown_for.is_none() && withdrawal.provider_no.is_none();
    if !is_first {
        match provider.query_transfer(&transfer.number).await {
            Ok(found) if lacks_package(&found, withdrawal) => {
                // The answer that had it was lost. It is a repetition: what else it says is no news.
                let again = provider.transfer(transfer).await;
                return Heard::Told(again.unwrap_or(found));
            }
            Ok(found) => return Heard::Told(found),
            Err(failure) if failure.reason() != Some(Reason::NotFound) => {
                return Heard::Unknown(failure.to_string());
            }
            Err(_) if withdrawal.provider_no.is_some() => {
                return Heard::Unknown("the provider does not find a transfer that it took".to_owned());
            }
            // The provider has not taken it.
            Err(_) => {}
        }
    }
    let refusal = match provider.transfer(transfer).await {
        Ok(told) => return Heard::Told(told),
        Err(Failure::Unknown(doubt)) => return Heard::Unknown(doubt.to_string()),
        // Ours to mend, by a top-up: then the same number may be used again.
        Err(Failure::Refused(refusal)) if refusal.reason == Reason::NotEnough => {
            return Heard::Unknown(refusal.to_string());
        }
        Err(Failure::Refused(refusal)) => refusal,
    };
    match provider.query_transfer(&transfer.number).await {
        Ok(found) => Heard::Told(found),
        Err(failure) if failure.reason() == Some(Reason::NotFound) => Heard::Refused(refusal.to_string()),
        Err(failure) => Heard::Unknown(format!("{refusal}; and then: {failure}")),
    }
}

/// Tells whether the recipient has to accept, and the page for it is not known.
fn lacks_package(found: &Transfer, withdrawal: &Withdrawal) -> bool {
    match &found.state {
        TransferState::AwaitingRecipient { package } => package.is_none() && withdrawal.package.is_none(),
        TransferState::Processing | TransferState::Succeeded | TransferState::Failed { .. } => false,
    }
}
