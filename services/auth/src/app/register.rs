use ids::UserId;
use sqlx::PgConnection;

use super::tokens::{Proved, open_session};
use super::{App, Client, Field, Issued, tell, transaction};
use crate::domain::Method;
use crate::error::Error;
use crate::password::Password;
use crate::phone::Phone;
use crate::store::account::New;
use crate::{events, invites, store};

/// Who has brought a new user.
#[derive(Debug, Clone)]
pub(crate) enum Referral {
    Nobody,
    User(UserId),
    InviteCode(String),
}

/// A user who registers.
#[derive(Debug, Clone)]
pub(crate) struct Registration {
    pub(crate) phone: Phone,
    pub(crate) password: Password,
    pub(crate) referral: Referral,
}

/// Makes a user with phone and password, and logs in.
///
/// # Errors
/// `PhoneTaken`; `InviteCodeInvalid` if nobody has the code; `ReferrerInvalid` if the
/// referrer does not exist or is banned.
pub(crate) async fn register(app: &App, wanted: &Registration, client: &Client) -> Result<Issued, Error> {
    app.limits.register(&wanted.phone, &client.ip).await?;
    let referrer_id = match &wanted.referral {
        Referral::Nobody => None,
        Referral::User(user_id) => Some(*user_id),
        Referral::InviteCode(code) => Some(
            invites::owner(&app.pool, code)
                .await?
                .ok_or(Error::InviteCodeInvalid)?,
        ),
    };
    // Saves the work of hashing; the constraint decides.
    let blind = app.blind_phone(&wanted.phone);
    if store::account::by_phone(&app.pool, &blind).await?.is_some() {
        return Err(Error::PhoneTaken);
    }
    let hash = app.passwords.hash(&wanted.password).await?;
    let mut new = New::unknown();
    let user_id = new.user_id;
    new.phone = Some(app.seal(user_id, Field::Phone, wanted.phone.e164())?);
    new.password_hash = Some(hash.clone());
    new.referrer_id = referrer_id;
    if !make(app, &new, Method::Registration).await? {
        return Err(Error::PhoneTaken);
    }
    let proved = Proved {
        user_id,
        method: Method::Registration,
        password_hash: Some(&hash),
        new_user: true,
    };
    open_session(app, proved, client).await
}

/// Makes a user, with an invite code if the pool has one. False if the phone number or a WeChat id is taken by now.
pub(super) async fn make(app: &App, new: &New, method: Method) -> Result<bool, Error> {
    transaction(&app.pool, async |conn| {
        if let Some(referrer_id) = new.referrer_id {
            check_referrer(conn, referrer_id).await?;
        }
        if !store::account::insert(conn, new).await? {
            return Ok(false);
        }
        let user_id = new.user_id;
        invites::claim(conn, user_id).await?;
        tell(conn, &events::registered(user_id, method, new.referrer_id)).await?;
        if let Some(referrer_id) = new.referrer_id {
            tell(conn, &events::referral_bonus(referrer_id, user_id)).await?;
        }
        Ok(true)
    })
    .await
}

/// The referrer stays active until the new user is there. It cannot be the new user itself, whose id nobody knows yet, nor
/// one whom the new user has brought: so there are no cycles, and the table refuses to change a referrer later.
async fn check_referrer(conn: &mut PgConnection, referrer_id: UserId) -> Result<(), Error> {
    if store::account::lock_active(conn, referrer_id).await? {
        Ok(())
    } else {
        Err(Error::ReferrerInvalid)
    }
}
