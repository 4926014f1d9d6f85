use std::time::Duration;

use ids::UserId;
use proto::quota::v1::GetBalanceRequest;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::{Code, Request};

use super::App;
use super::change::{Changed, change};
use crate::domain::{Account, Filter, Page, page_token};
use crate::error::Error;
use crate::{cache, invites, store};

/// How long a profile waits for the balance, which is shown beside it but is not part of it.
const QUOTA_PATIENCE: Duration = Duration::from_millis(300);

/// Returns a user.
pub(crate) async fn get_user(app: &App, user_id: UserId) -> Result<Account, Error> {
    let read = async { Ok(store::account::find(&app.pool, user_id).await?) };
    app.cache
        .get(&cache::of_user(user_id), read)
        .await?
        .ok_or(Error::UserNotFound)
}

/// Returns the caller, who gets an invite code now if the pool was empty so far.
pub(crate) async fn me(app: &App, user_id: UserId) -> Result<Account, Error> {
    let account = get_user(app, user_id).await?;
    if account.invite_code.is_some() {
        return Ok(account);
    }
    let (with_code, claimed) = change(app, user_id, async |conn, _| {
        let claimed = invites::claim(conn, user_id).await?.is_some();
        if claimed {
            store::account::bump_version(conn, user_id).await?;
        }
        Ok(Changed::of(claimed))
    })
    .await?;
    Ok(if claimed { with_code } else { account })
}

/// Asks the quota service what the caller has left, in the caller's own name. `None` while there is no answer; 0 without an
/// account there.
pub(crate) async fn quota_remaining(app: &App, authorization: Option<&MetadataValue<Ascii>>) -> Option<i64> {
    let mut quota = app.quota.clone()?;
    let mut request = Request::new(GetBalanceRequest::default());
    request
        .metadata_mut()
        .insert("authorization", authorization?.clone());
    request.set_timeout(QUOTA_PATIENCE);
    // The deadline in the request does not cover connecting.
    match tokio::time::timeout(QUOTA_PATIENCE, quota.get_balance(request)).await {
        Ok(Ok(answer)) => answer.into_inner().balance.map(|balance| balance.available),
        Ok(Err(status)) if status.code() == Code::NotFound => Some(0),
        Ok(Err(status)) => {
            tracing::warn!(code = ?status.code(), "the balance is not known");
            None
        }
        Err(_) => {
            tracing::warn!("the quota service is slow; the balance is not known");
            None
        }
    }
}

/// Returns a page of users, newest first, and the token of the next page if there is one.
pub(crate) async fn list_users(
    app: &App,
    filter: &Filter,
    page: Page,
) -> Result<(Vec<Account>, Option<String>), Error> {
    // One more than asked for tells whether there is a next page.
    let mut users = store::account::list(&app.pool, filter, page).await?;
    let more = users.len() > page.size as usize;
    if more {
        users.pop();
    }
    let next = users
        .last()
        .filter(|_| more)
        .map(|last| page_token(filter, last.id()));
    Ok((users, next))
}
