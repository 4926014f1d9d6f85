use ids::UserId;

use super::tokens::{Proved, open_session};
use super::{App, Client, Field, Issued, register};
use crate::domain::{Method, State};
use crate::error::{Error, chain};
use crate::limits::Purpose;
use crate::password::Password;
use crate::phone::Phone;
use crate::store;
use crate::store::account::New;

/// What somebody shows to be the holder of a phone number.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    Code(String),
    Password(String),
}

/// Logs in by phone.
///
/// # Errors
/// `LoginFailed` for a wrong code or password as for an unknown number, after the same work; `UserBanned` only to who has
/// proved to be that user.
pub(crate) async fn login(app: &App, phone: &Phone, proof: &Proof, client: &Client) -> Result<Issued, Error> {
    app.limits.login(phone, &client.ip).await?;
    match proof {
        Proof::Code(code) => by_code(app, phone, code, client).await,
        Proof::Password(password) => by_password(app, phone, password, client).await,
    }
}

async fn by_code(app: &App, phone: &Phone, code: &str, client: &Client) -> Result<Issued, Error> {
    if !app.limits.check_code(phone, Purpose::Login, code).await? {
        return Err(Error::LoginFailed);
    }
    let (user_id, new_user) = find_or_make(app, phone).await?;
    let proved = Proved {
        user_id,
        method: Method::Code,
        password_hash: None,
        new_user,
    };
    open_session(app, proved, client).await
}

/// Of any number of first logins at once one makes the user, and all of them find it.
async fn find_or_make(app: &App, phone: &Phone) -> Result<(UserId, bool), Error> {
    let blind = app.blind_phone(phone);
    if let Some(found) = store::account::by_phone(&app.pool, &blind).await? {
        return Ok((found.user_id, false));
    }
    let mut new = New::unknown();
    new.phone = Some(app.seal(new.user_id, Field::Phone, phone.e164())?);
    if register::make(app, &new, Method::Code).await? {
        return Ok((new.user_id, true));
    }
    let found = store::account::by_phone(&app.pool, &blind).await?;
    let found = found.ok_or(Error::Broken("a phone number is taken by nobody"))?;
    Ok((found.user_id, false))
}

async fn by_password(app: &App, phone: &Phone, password: &str, client: &Client) -> Result<Issued, Error> {
    let blind = app.blind_phone(phone);
    // A second time if the hash has been replaced in between: by another one of the same password, when two logins at once
    // find it too cheap, or by that of another password, which is wrong then.
    for _ in 0..2 {
        let found = store::account::by_phone(&app.pool, &blind).await?;
        let known = found.and_then(|user| Some((user.user_id, user.state, user.password_hash?)));
        let Some((user_id, state, hash)) = known else {
            app.passwords.verify_nobody(password).await?;
            return Err(Error::LoginFailed);
        };
        if !app.passwords.verify(password, &hash).await? {
            return Err(Error::LoginFailed);
        }
        if state == State::Banned {
            return Err(Error::UserBanned);
        }
        let proved = Proved {
            user_id,
            method: Method::Password,
            password_hash: Some(&hash),
            new_user: false,
        };
        match open_session(app, proved, client).await {
            Ok(issued) => {
                rehash(app, user_id, password, &hash).await;
                return Ok(issued);
            }
            Err(Error::LoginFailed) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::LoginFailed)
}

/// Replaces a hash that is cheaper than those of today. The user is in already: that it does not work out, or that the
/// password would not be taken today, is no failure.
async fn rehash(app: &App, user_id: UserId, password: &str, old: &str) {
    if !app.passwords.needs_rehash(old) {
        return;
    }
    let done = async {
        let new = app.passwords.hash(&Password::chosen(password)?).await?;
        store::account::rehash(&app.pool, user_id, old, &new).await?;
        Ok::<_, Error>(())
    };
    if let Err(error) = done.await {
        tracing::warn!(error = chain(&error), %user_id, "a password keeps its old hash for now");
    }
}
