use ids::UserId;

use super::change::{Changed, change};
use super::{App, read, tell};
use crate::domain::{Account, Profile};
use crate::error::Error;
use crate::{events, store};

/// Changes a user's profile.
pub(crate) async fn update_me(app: &App, user_id: UserId, profile: &Profile) -> Result<Account, Error> {
    let fields = profile.fields();
    if fields.is_empty() {
        return read::get_user(app, user_id).await;
    }
    let (account, ()) = change(app, user_id, async |conn, _| {
        store::account::set_profile(conn, user_id, profile).await?;
        tell(conn, &events::updated(user_id, &fields)).await?;
        Ok(Changed::of(()))
    })
    .await?;
    Ok(account)
}
