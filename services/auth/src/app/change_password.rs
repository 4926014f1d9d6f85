use ids::UserId;

use super::change::{Changed, change, end_sessions};
use super::{App, tell};
use crate::domain::{EndReason, SessionId, State};
use crate::error::Error;
use crate::password::Password;
use crate::{events, store};

/// Changes a user's password, and ends its sessions but the one that asks.
///
/// # Errors
/// `PasswordWrong` for the old one, also if it was changed a moment ago; `Invalid` for a user without a phone number, who
/// could not use it.
pub(crate) async fn change_password(
    app: &App,
    user_id: UserId,
    session_id: SessionId,
    old: &str,
    new: &Password,
) -> Result<(), Error> {
    app.limits.password(user_id).await?;
    let user = store::account::credentials(&app.pool, user_id)
        .await?
        .ok_or(Error::UserNotFound)?;
    if !user.has_phone {
        return Err(Error::invalid(
            "new_password",
            "is of no use to an account without a phone number",
        ));
    }
    if let Some(hash) = &user.password_hash
        && !app.passwords.verify(old, hash).await?
    {
        return Err(Error::PasswordWrong);
    }
    let hash = app.passwords.hash(new).await?;
    change(app, user_id, async |conn, locked| {
        if locked.state == State::Banned {
            return Err(Error::UserBanned);
        }
        if locked.password_hash != user.password_hash {
            return Err(Error::PasswordWrong);
        }
        store::account::set_password(conn, user_id, &hash).await?;
        let ended = end_sessions(conn, user_id, Some(session_id), EndReason::PasswordChanged).await?;
        tell(conn, &events::password_changed(user_id)).await?;
        Ok(Changed {
            value: (),
            ended,
            publish_epoch: true,
        })
    })
    .await
    .map(drop)
}
