use ids::UserId;
use sqlx::PgConnection;

use super::{App, tell, tokens};
use crate::cache;
use crate::domain::{Account, EndReason, Role, SessionId};
use crate::error::{Error, chain};
use crate::store::account::Locked;
use crate::{events, store};

/// What a change of a user came to.
#[derive(Debug)]
pub(super) struct Changed<T> {
    pub(super) value: T,
    /// Sessions that have ended with it.
    pub(super) ended: Vec<SessionId>,
    /// Every service must know the user's epoch, also if it was raised by an earlier call that could not tell.
    pub(super) publish_epoch: bool,
}

impl<T> Changed<T> {
    /// A change that leaves sessions and rights alone.
    pub(super) const fn of(value: T) -> Self {
        Self {
            value,
            ended: Vec::new(),
            publish_epoch: false,
        }
    }
}

/// Changes a user under the lock of its row. Returns the user as it is afterwards.
///
/// The order: tombstone in the cache, commit, tokens of ended sessions removed, cache filled, epoch published. After a crash
/// behind the commit the database refuses the ended sessions, and the job of [`epochs`](crate::epochs) publishes.
///
/// # Errors
/// `UserNotFound`; what the work refuses, and then nothing has changed. `Kv` after the commit: the change is made, and not
/// known everywhere yet; repeating it, or waiting for the job, makes it known.
pub(super) async fn change<T>(
    app: &App,
    user_id: UserId,
    work: impl AsyncFnOnce(&mut PgConnection, Locked) -> Result<Changed<T>, Error>,
) -> Result<(Account, T), Error> {
    let mut tx = app
        .pool
        .begin_with("begin isolation level read committed")
        .await?;
    let locked = store::account::lock(&mut tx, user_id)
        .await?
        .ok_or(Error::UserNotFound)?;
    let version = locked.version;
    let changed = work(&mut tx, locked).await?;
    let account = store::account::find(&mut *tx, user_id)
        .await?
        .ok_or(Error::Broken("a locked user is gone"))?;
    let key = cache::of_user(user_id);
    if account.version != version {
        let retired = app.cache.retire(&key, account.version).await;
        match retired {
            Ok(()) => {}
            // A ban must not wait for the store. The job of the epochs retires what is cached, too.
            Err(error) if changed.publish_epoch => {
                tracing::warn!(error = chain(&error), %user_id, "a change is not known to the cache yet");
            }
            Err(error) => return Err(error.into()),
        }
    }
    tx.commit().await?;
    for session_id in &changed.ended {
        tokens::forget(app, user_id, *session_id).await;
    }
    if account.version != version {
        app.cache.fill(&key, &account).await;
    }
    if changed.publish_epoch {
        app.epochs.publish(user_id, account.epoch).await?;
    }
    Ok((account, changed.value))
}

/// Ends the sessions of a user but one, and lets no administrator's token from before pass. For use within [`change`].
pub(super) async fn end_sessions(
    conn: &mut PgConnection,
    user_id: UserId,
    except: Option<SessionId>,
    reason: EndReason,
) -> Result<Vec<SessionId>, Error> {
    let ended = store::session::end_many(conn, user_id, except, 0, reason).await?;
    for session_id in &ended {
        tell(conn, &events::session_ended(user_id, *session_id, reason)).await?;
    }
    store::account::raise_epoch(conn, user_id).await?;
    Ok(ended)
}

/// Ends one session of a user. An administrator's access tokens are refused for admin calls from then on, those of its
/// other sessions until they are refreshed. Does nothing if the session is over.
pub(super) async fn end_session(
    app: &App,
    user_id: UserId,
    session_id: SessionId,
    reason: EndReason,
) -> Result<(), Error> {
    change(app, user_id, async |conn, locked| {
        let is_admin = locked.role == Role::Admin;
        if store::session::end(conn, user_id, session_id, reason).await? {
            tell(conn, &events::session_ended(user_id, session_id, reason)).await?;
            if reason == EndReason::Reuse {
                tell(conn, &events::reuse_detected(user_id, session_id)).await?;
            }
            if is_admin {
                store::account::raise_epoch(conn, user_id).await?;
            }
        }
        Ok(Changed {
            value: (),
            ended: vec![session_id],
            publish_epoch: is_admin,
        })
    })
    .await
    .map(drop)
}
