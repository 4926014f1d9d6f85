//! Asks providers about what is open: takes checks that are due, carries each out in a task of its own, and gives it back
//! with when it is due next.
//!
//! A process that dies in the middle leaves a lease behind; when it ends, somebody else asks. Every call of a provider
//! may be repeated, so nothing is lost but time.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::{App, payments, refunds, withdrawals};
use crate::error::Error;
use crate::store::checks::{self, Claim, Next, Subject};

/// How often is looked for what is due, if nobody hints.
const SCAN: Duration = Duration::from_secs(1);
/// Shortest pause between two looks, so that a check that fails at once makes no hot loop.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
/// Longest that one check takes: two calls with their timeouts, or one that has to fetch WeChat's certificates first, and the
/// database. Then it is cut off; what it asked for is asked again.
const LONGEST: Duration = Duration::from_secs(25);
/// For how long nobody else asks. What a process that died was asking is asked again after this time.
const LEASE: Duration = Duration::from_secs(30);

/// Works until `stop` is cancelled; calls under way are then broken off, and asked again by the next process.
pub(crate) async fn run(app: App, stop: CancellationToken) {
    let mut asked: JoinSet<()> = JoinSet::new();
    let mut failing = false;
    while !stop.is_cancelled() {
        let room = i64::from(app.config.parallel) - i64::try_from(asked.len()).unwrap_or(i64::MAX);
        let mut pause = SCAN;
        if room > 0 {
            match checks::take(&app.steps_pool, room, LEASE).await {
                Ok(claims) => {
                    failing = false;
                    if !claims.is_empty() {
                        pause = SHORTEST_PAUSE;
                    }
                    for claim in claims {
                        let app = app.clone();
                        asked.spawn(async move { carry_out(&app, &claim).await });
                    }
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(
                            error = barrier::chain(&error),
                            "cannot look for what providers are to be asked"
                        );
                    }
                    failing = true;
                }
            }
        }
        // Waits begin at 10 ms, so a scan each second would be late for the short ones.
        let nearest = app
            .config
            .ask_after
            .first()
            .copied()
            .unwrap_or(SCAN)
            .max(SHORTEST_PAUSE);
        tokio::select! {
            () = stop.cancelled() => {}
            () = app.due.notified() => {}
            () = tokio::time::sleep(pause.min(nearest)) => {}
            Some(ended) = asked.join_next() => {
                if let Err(error) = ended && error.is_panic() {
                    tracing::error!("a question to a provider panicked; it is asked again when its lease has ended");
                }
            }
        }
    }
}

async fn carry_out(app: &App, claim: &Claim) {
    let check = async {
        match claim.subject {
            Subject::Payment => payments::check(app, claim).await,
            Subject::Refund => refunds::check(app, claim).await,
            Subject::Withdrawal => withdrawals::check(app, claim).await,
        }
    };
    let found = tokio::time::timeout(LONGEST, check).await;
    let late = |_| Err(Error::Provider(format!("no answer within {LONGEST:?}")));
    let next = found.unwrap_or_else(late).unwrap_or_else(|error: Error| {
        tracing::warn!(
            subject = claim.subject.name(),
            id = %claim.id,
            channel = claim.channel.name(),
            error = barrier::chain(&error),
            "a question to a provider failed"
        );
        Next::Unknown(error.to_string())
    });
    // Something new is known: a step may wait for it.
    if matches!(next, Next::Done) || (next == Next::Soon && claim.subject == Subject::Payment) {
        app.hints.leave((claim.subject, claim.id));
    }
    if next == Next::Done {
        // The row went in the transaction that learned the outcome.
        return;
    }
    if let Err(error) = checks::give_back(&app.steps_pool, claim, &next, &app.config.ask_after).await {
        tracing::warn!(
            error = barrier::chain(&error),
            "a check is not given back; its lease will end"
        );
    }
}
