use ids::UserId;

use super::change::{Changed, change, end_session, end_sessions};
use super::{App, tokens};
use crate::domain::{EndReason, Session, SessionId};
use crate::error::Error;
use crate::store;

/// Ends a session. Once it is over, that is so.
pub(crate) async fn logout(app: &App, user_id: UserId, session_id: SessionId) -> Result<(), Error> {
    end_session(app, user_id, session_id, EndReason::Logout).await
}

/// Ends every session of a user; returns how many.
pub(crate) async fn logout_everywhere(app: &App, user_id: UserId) -> Result<u32, Error> {
    let (_, ended) = change(app, user_id, async |conn, _| {
        let ended = end_sessions(conn, user_id, None, EndReason::LogoutEverywhere).await?;
        Ok(Changed {
            value: ended.len(),
            ended,
            publish_epoch: true,
        })
    })
    .await?;
    Ok(u32::try_from(ended).unwrap_or(u32::MAX))
}

/// Ends one of a user's sessions.
///
/// # Errors
/// `SessionNotFound` if the user never had it.
pub(crate) async fn revoke_session(app: &App, user_id: UserId, session_id: SessionId) -> Result<(), Error> {
    if !store::session::exists(&app.pool, user_id, session_id).await? {
        return Err(Error::SessionNotFound);
    }
    end_session(app, user_id, session_id, EndReason::Revoked).await
}

/// Returns a user's open sessions, newest first. There are at most as many as a user may have.
pub(crate) async fn list_sessions(app: &App, user_id: UserId) -> Result<Vec<Session>, Error> {
    Ok(store::session::list(&app.pool, user_id, app.config.max_sessions).await?)
}

/// Ends the session of a refresh token.
///
/// # Errors
/// `RefreshInvalid` if it is none of ours; whether it is the good one is not asked.
pub(crate) async fn logout_token(app: &App, text: &str) -> Result<(), Error> {
    let token = tokens::presented(app, text)?;
    logout(app, token.user_id, token.session_id).await
}
