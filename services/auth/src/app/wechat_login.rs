use ids::UserId;

use super::change::{Changed, change};
use super::tokens::{Proved, open_session};
use super::{App, Client, Field, Issued, register};
use crate::domain::Method;
use crate::error::Error;
use crate::store;
use crate::store::account::{ByWechat, New};
use crate::wechat::Identity;

/// Logs in with the code of a mini program. The first login makes the user.
///
/// A person has one unionid in all programs of a company, and an openid in each; so the unionid is looked for first. WeChat
/// gives it only once the program is tied to an open platform account: then it is noted for the user of the openid.
///
/// # Errors
/// `WechatCodeInvalid`, `WechatUnavailable`, `UserBanned`.
pub(crate) async fn wechat_login(app: &App, code: &str, client: &Client) -> Result<Issued, Error> {
    app.limits.wechat(&client.ip).await?;
    let identity = app.wechat.exchange(code).await?;
    let (user_id, new_user) = find_or_make(app, &identity).await?;
    let proved = Proved {
        user_id,
        method: Method::Wechat,
        password_hash: None,
        new_user,
    };
    open_session(app, proved, client).await
}

/// Of any number of first logins at once one makes the user, and all of them find it.
async fn find_or_make(app: &App, identity: &Identity) -> Result<(UserId, bool), Error> {
    if let Some(user_id) = find(app, identity).await? {
        return Ok((user_id, false));
    }
    let mut new = New::unknown();
    new.openid = Some(app.seal(new.user_id, Field::Openid, &identity.openid)?);
    if let Some(unionid) = &identity.unionid {
        new.unionid = Some(app.seal(new.user_id, Field::Unionid, unionid)?);
    }
    if register::make(app, &new, Method::Wechat).await? {
        return Ok((new.user_id, true));
    }
    let found = find(app, identity).await?;
    let user_id = found.ok_or(Error::Broken("a WeChat id is taken by nobody"))?;
    Ok((user_id, false))
}

async fn find(app: &App, identity: &Identity) -> Result<Option<UserId>, Error> {
    let openid = app.blind(Field::Openid, &identity.openid);
    let unionid = identity
        .unionid
        .as_ref()
        .map(|unionid| app.blind(Field::Unionid, unionid));
    let Some(found) = store::account::by_wechat(&app.pool, &openid, unionid.as_deref()).await? else {
        return Ok(None);
    };
    link(app, found, identity).await?;
    Ok(Some(found.user_id))
}

/// Notes what WeChat has told beside what the user was found by. An openid that is another user's stays there: that user
/// came before the program was tied to its open platform account, and a person decides what becomes of it.
async fn link(app: &App, found: ByWechat, identity: &Identity) -> Result<(), Error> {
    let user_id = found.user_id;
    let openid = (!found.has_openid)
        .then(|| app.seal(user_id, Field::Openid, &identity.openid))
        .transpose()?;
    let unionid = identity
        .unionid
        .as_ref()
        .filter(|_| !found.by_unionid)
        .map(|unionid| app.seal(user_id, Field::Unionid, unionid))
        .transpose()?;
    if openid.is_none() && unionid.is_none() {
        return Ok(());
    }
    let linked = change(app, user_id, async |conn, _| {
        store::account::link_wechat(conn, user_id, openid.as_ref(), unionid.as_ref()).await?;
        Ok(Changed::of(()))
    })
    .await;
    match linked {
        Ok(_) => Ok(()),
        Err(Error::Database(sqlx::Error::Database(error))) if error.is_unique_violation() => {
            tracing::warn!(%user_id, "two users share a WeChat identity; nothing is noted");
            Ok(())
        }
        Err(error) => Err(error),
    }
}
