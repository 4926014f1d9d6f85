use super::change::{Changed, change, end_sessions};
use super::{App, tell};
use crate::domain::{EndReason, State};
use crate::error::Error;
use crate::limits::Purpose;
use crate::password::Password;
use crate::phone::Phone;
use crate::{events, store};

/// Sets a new password with a code that was sent for this, and ends every session.
///
/// # Errors
/// `SmsCodeInvalid`; `UserNotFound`, `UserBanned` only to who has
/// the phone in hand.
pub(crate) async fn reset_password(
    app: &App,
    phone: &Phone,
    code: &str,
    password: &Password,
    ip: &str,
) -> Result<(), Error> {
    app.limits.login(phone, ip).await?;
    if !app.limits.check_code(phone, Purpose::ResetPassword, code).await? {
        return Err(Error::SmsCodeInvalid);
    }
    let found = store::account::by_phone(&app.pool, &app.blind_phone(phone)).await?;
    let user_id = found.ok_or(Error::UserNotFound)?.user_id;
    let hash = app.passwords.hash(password).await?;
    change(app, user_id, async |conn, locked| {
        if locked.state == State::Banned {
            return Err(Error::UserBanned);
        }
        store::account::set_password(conn, user_id, &hash).await?;
        let ended = end_sessions(conn, user_id, None, EndReason::PasswordChanged).await?;
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
