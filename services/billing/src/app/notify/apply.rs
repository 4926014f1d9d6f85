//! Applying what a provider told, after it was stored.

use ids::PaymentId;
use pay::{Event, Number};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::app::payments::{Settled, Source, settle};
use crate::app::{App, refunds, withdrawals};
use crate::domain::Told;
use crate::error::Error;
use crate::store::checks::{self, Subject};
use crate::store::notifies::{self, Fate, Notify};

/// Applies a notification of the inbox, once. False if somebody else does or did.
pub(crate) async fn apply(app: &App, id: Uuid) -> Result<bool, Error> {
    let applied = App::transaction(&app.steps_pool, async |conn| {
        let Some(notify) = notifies::lock(conn, id).await? else {
            return Ok(None);
        };
        let about = notify.subject_id.map(|id| (notify.subject, id));
        let applied = carry_out(conn, notify).await?;
        if !notifies::applied(conn, id, &applied).await? {
            return Err(Error::Broken("a notification that is locked has changed"));
        }
        Ok(Some((applied, about)))
    })
    .await?;
    match &applied {
        Some((Fate::Applied, about)) => {
            app.due.notify_one();
            if let Some(about) = *about {
                app.hints.leave(about);
            }
        }
        Some((Fate::Held(why), _)) => tracing::warn!(notify_id = %id, why, "a notification is held"),
        Some((Fate::Unchanged, _)) | None => {}
    }
    Ok(applied.is_some())
}

async fn carry_out(conn: &mut PgConnection, notify: Notify) -> Result<Fate, Error> {
    let Some(subject_id) = notify.subject_id else {
        return Ok(Fate::Held(format!(
            "no {} of ours has this number",
            notify.subject.name()
        )));
    };
    let told = serde_json::from_value::<Told>(notify.event).ok();
    let event = told.and_then(|told| told.event(Number::new(notify.number).ok()?));
    let Some(event) = event else {
        return Ok(Fate::Held("what was kept cannot be read".to_owned()));
    };
    match event {
        Event::Payment(told) => {
            let id = PaymentId::from_uuid(subject_id);
            Ok(match settle(conn, id, &told, Source::Notify).await? {
                Settled::Changed => Fate::Applied,
                Settled::Unchanged => Fate::Unchanged,
                Settled::Held(why) => Fate::Held(why),
            })
        }
        Event::Refund(told) => Ok(match refunds::apply(conn, &told, "notify").await? {
            refunds::Applied::Changed => Fate::Applied,
            refunds::Applied::Unchanged => Fate::Unchanged,
            refunds::Applied::Held(why) => Fate::Held(why.to_owned()),
        }),
        // It does not say what became of it: the provider is asked at once, and its answer counts.
        Event::RefundChanged { .. } => hurry(conn, Subject::Refund, subject_id).await,
        Event::Transfer(told) => Ok(match withdrawals::apply(conn, &told).await? {
            Some(withdrawals::Applied::Changed) => Fate::Applied,
            Some(withdrawals::Applied::Unchanged) => Fate::Unchanged,
            Some(withdrawals::Applied::Held(why)) => Fate::Held(why),
            None => Fate::Held("no withdrawal of ours has this number".to_owned()),
        }),
    }
}

async fn hurry(conn: &mut PgConnection, subject: Subject, id: Uuid) -> Result<Fate, Error> {
    let open = checks::hurry(conn, subject, id).await?;
    Ok(if open { Fate::Applied } else { Fate::Unchanged })
}
