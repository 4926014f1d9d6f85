use std::time::SystemTime;

use chrono::{DateTime, Utc};
use ids::UserId;
use kv::Key;
use token::{AccessClaims, SigningKey, User};
use uuid::Uuid;

use super::{App, tell, transaction};
use crate::domain::{Device, EndReason, MAC_BYTES, Method, Presented, RefreshToken, Role, SessionId, State};
use crate::error::{Error, chain};
use crate::store::session::{New, Open};
use crate::{events, store};

/// Who holds the other end of a session, as far as it says.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) device: Device,
    /// Address, or empty.
    pub(crate) ip: String,
}

/// Tokens for a client.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) access_token: String,
    pub(crate) refresh_token: String,
    pub(crate) access_expires_at: SystemTime,
    pub(crate) refresh_expires_at: DateTime<Utc>,
    pub(crate) user_id: UserId,
    pub(crate) session_id: SessionId,
    /// This login has made the user.
    pub(crate) new_user: bool,
}

/// How a user came to be logged in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proved<'a> {
    pub(super) user_id: UserId,
    pub(super) method: Method,
    /// The hash that the password was compared with, if that was the proof.
    pub(super) password_hash: Option<&'a str>,
    pub(super) new_user: bool,
}

/// Opens a session and makes its tokens.
///
/// The family of refresh tokens is begun before the session is: a crash in between leaves a family without a session, which
/// nobody can use and which ends by itself.
///
/// # Errors
/// `UserBanned`; `LoginFailed` if the password was changed since it was proved.
pub(super) async fn open_session(app: &App, proved: Proved<'_>, client: &Client) -> Result<Issued, Error> {
    let signing = app.keys.signing().await?;
    let session_id = SessionId::new();
    let user_id = proved.user_id;
    let token = RefreshToken {
        user_id,
        session_id,
        jti: Uuid::new_v4(),
    };
    let lives = app.config.refresh_ttl;
    app.kv
        .begin_rotation(&family(user_id, session_id), &jti_text(token.jti), lives)
        .await?;
    let new = New {
        session_id,
        user_id,
        method: proved.method,
        device: &client.device,
        ip: &client.ip,
        lives,
        password_hash: proved.password_hash,
    };
    let max_sessions = app.config.max_sessions;
    let opened = transaction(&app.pool, async |conn| {
        let Some(open) = store::session::open(conn, &new).await? else {
            return Ok(None);
        };
        tell(conn, &events::session_opened(user_id, session_id, proved.method)).await?;
        let replaced =
            store::session::end_many(conn, user_id, None, max_sessions, EndReason::Replaced).await?;
        for old in &replaced {
            tell(conn, &events::session_ended(user_id, *old, EndReason::Replaced)).await?;
        }
        Ok(Some((open, replaced)))
    })
    .await;
    match opened {
        Ok(Some((open, replaced))) => {
            for old in replaced {
                forget(app, user_id, old).await;
            }
            issue(app, &signing, token, open, proved.new_user)
        }
        Ok(None) => {
            forget(app, user_id, session_id).await;
            Err(refused(app, user_id, Error::LoginFailed).await?)
        }
        Err(error) => {
            forget(app, user_id, session_id).await;
            Err(error)
        }
    }
}

/// Makes the tokens of an open session.
pub(super) fn issue(
    app: &App,
    signing: &SigningKey,
    token: RefreshToken,
    open: Open,
    new_user: bool,
) -> Result<Issued, Error> {
    let now = SystemTime::now();
    let access_expires_at = now + app.config.access_ttl;
    let claims = AccessClaims {
        user: User {
            user_id: token.user_id,
            session_id: token.session_id.to_string().into(),
            role: match open.role {
                Role::User => token::Role::User,
                Role::Admin => token::Role::Admin,
            },
            epoch: open.epoch,
        },
        token_id: Uuid::new_v4().simple().to_string().into(),
        issued_at: now,
        expires_at: access_expires_at,
    };
    Ok(Issued {
        access_token: token::sign_access(&claims, signing),
        refresh_token: token.encode(&mac(app, &token)?),
        access_expires_at,
        refresh_expires_at: open.expires_at,
        user_id: token.user_id,
        session_id: token.session_id,
        new_user,
    })
}

/// Reads a refresh token of ours.
///
/// # Errors
/// `RefreshInvalid` for anything that we did not make.
pub(super) fn presented(app: &App, text: &str) -> Result<RefreshToken, Error> {
    let Presented { token, mac: theirs } = Presented::parse(text).ok_or(Error::RefreshInvalid)?;
    let ours = mac(app, &token)?;
    aws_lc_rs::constant_time::verify_slices_are_equal(&ours, &theirs)
        .map(|()| token)
        .map_err(|_| Error::RefreshInvalid)
}

/// Removes the family of a session's refresh tokens. The session has ended in the database, which decides; so that it does
/// not work out is no failure.
pub(super) async fn forget(app: &App, user_id: UserId, session_id: SessionId) {
    if let Err(error) = app.kv.remove(&family(user_id, session_id)).await {
        tracing::debug!(error = chain(&error), %user_id, %session_id, "a family stays until its time");
    }
}

/// Says why a user may not go on: it is banned, or `otherwise`.
pub(super) async fn refused(app: &App, user_id: UserId, otherwise: Error) -> Result<Error, Error> {
    let account = store::account::find(&app.pool, user_id).await?;
    Ok(match account {
        Some(account) if account.state == State::Banned => Error::UserBanned,
        Some(_) | None => otherwise,
    })
}

/// Key of the family of a session's refresh tokens.
pub(super) fn family(user_id: UserId, session_id: SessionId) -> Key {
    Key::new("refresh", &[&user_id.to_string(), &session_id.to_string()])
}

/// Writes the id of a refresh token as the store holds it.
pub(super) fn jti_text(jti: Uuid) -> String {
    jti.simple().to_string()
}

fn mac(app: &App, token: &RefreshToken) -> Result<[u8; MAC_BYTES], Error> {
    let mac = app.vault.blind("refresh_token", &token.signed());
    mac.try_into()
        .map_err(|_| Error::Broken("a keyed hash has another length"))
}
