use kv::Rotation;
use uuid::Uuid;

use super::change::end_session;
use super::{App, Issued, tokens};
use crate::domain::{EndReason, RefreshToken};
use crate::error::Error;
use crate::store;

/// Changes a refresh token for new tokens.
///
/// The store says which token of the session is the good one, and makes the next one good in the same step. Then the
/// database decides whether the session goes on: a session that ended a moment ago stays ended whatever the store holds. If
/// the process dies in between, the client comes back with the parent of a token that nobody has seen, which is answered.
///
/// # Errors
/// `RefreshInvalid`, `UserBanned`; `RefreshReused`, and then the session has ended. A store that came back empty knows no
/// session: its users log in again.
pub(crate) async fn refresh(app: &App, text: &str) -> Result<Issued, Error> {
    let token = tokens::presented(app, text)?;
    let (user_id, session_id) = (token.user_id, token.session_id);
    let signing = app.keys.signing().await?;
    let next = Uuid::new_v4();
    let family = tokens::family(user_id, session_id);
    let lives = app.config.refresh_ttl;
    let rotation = app
        .kv
        .rotate(
            &family,
            &tokens::jti_text(token.jti),
            &tokens::jti_text(next),
            app.config.refresh_grace,
            lives,
        )
        .await?;
    let jti = match rotation {
        Rotation::Rotated => next,
        Rotation::Repeated { current } => {
            Uuid::try_parse(&current).map_err(|_| Error::Broken("a family holds no id of a token"))?
        }
        Rotation::Reused => {
            end_session(app, user_id, session_id, EndReason::Reuse).await?;
            return Err(Error::RefreshReused);
        }
        Rotation::Absent => {
            // The session has ended, or the store has lost it; then the list of sessions must not show it for days.
            end_session(app, user_id, session_id, EndReason::Lost).await?;
            return Err(tokens::refused(app, user_id, Error::RefreshInvalid).await?);
        }
    };
    match store::session::touch(&app.pool, user_id, session_id, lives).await? {
        Some(open) => tokens::issue(app, &signing, RefreshToken { jti, ..token }, open, false),
        None => {
            tokens::forget(app, user_id, session_id).await;
            Err(tokens::refused(app, user_id, Error::RefreshInvalid).await?)
        }
    }
}
