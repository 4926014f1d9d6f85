//! Looks for money that is stuck on its way back, so that a person is told: whatever happened to the saga, the jobs or the
//! provider, a payment is not REFUNDING for longer than `case_after` without an open case.

use crate::app::App;
use crate::error::Error;
use crate::store::cases::{self, CaseKind, NewCase};
use crate::store::checks::Subject;
use crate::store::refunding;

/// Opens a case for every refund that has not ended within `case_after`, and for every late payment that nobody gives back.
pub(crate) async fn watch(app: App) -> Result<(), Error> {
    let after = app.config.case_after;
    for stuck in refunding::stuck(&app.steps_pool, after).await? {
        let said = stuck.last_error.as_deref().unwrap_or("nothing of note");
        let detail = format!(
            "{} for more than {} s; last heard: {said}",
            stuck.status,
            after.as_secs()
        );
        let case = NewCase {
            kind: CaseKind::UnknownOutcome,
            channel: stuck.channel,
            subject: Subject::Refund,
            subject_id: stuck.refund_id.uuid(),
            number: &stuck.refund_no,
            detail: &detail,
        };
        open(&app, &case).await?;
    }
    for kept in refunding::kept(&app.steps_pool, after).await? {
        let case = NewCase {
            kind: CaseKind::RefundFailed,
            channel: kept.channel,
            subject: Subject::Payment,
            subject_id: kept.payment_id.uuid(),
            number: &kept.channel_order_no,
            detail: "it was paid late, and does not go back",
        };
        open(&app, &case).await?;
    }
    Ok(())
}

async fn open(app: &App, case: &NewCase<'_>) -> Result<(), Error> {
    // Another process that looks at the same moment opens none: there is one open case of a kind.
    let mut conn = app.steps_pool.acquire().await?;
    if cases::open(&mut conn, case).await? {
        tracing::warn!(
            subject = case.subject.name(),
            id = %case.subject_id,
            number = case.number,
            detail = case.detail,
            "money is stuck on its way back"
        );
    }
    Ok(())
}
