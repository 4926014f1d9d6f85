use ids::UserId;
use serde_json::json;
use sqlx::PgConnection;

use super::change::{Changed, change, end_sessions};
use super::{App, tell};
use crate::domain::{Account, EndReason, Reason, Role, State};
use crate::error::Error;
use crate::store::audit::{Act, append};
use crate::{events, store};

/// Who administers.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    /// For the audit.
    pub(crate) actor: String,
    /// Whose account it is, if it is a user.
    pub(crate) user_id: Option<UserId>,
}

impl Admin {
    /// An administrator who bans or demotes itself could leave nobody who undoes it.
    fn not_itself(&self, user_id: UserId) -> Result<(), Error> {
        if self.user_id == Some(user_id) {
            return Err(Error::Denied("administrators do not change their own rights"));
        }
        Ok(())
    }
}

/// Bans a user and ends its sessions, or ends a ban.
pub(crate) async fn set_state(
    app: &App,
    admin: &Admin,
    user_id: UserId,
    state: State,
    reason: &Reason,
) -> Result<Account, Error> {
    admin.not_itself(user_id)?;
    let (account, ()) = change(app, user_id, async |conn, locked| {
        let mut ended = Vec::new();
        if locked.state != state {
            store::account::set_state(conn, user_id, state).await?;
            let (act, event) = match state {
                State::Banned => {
                    ended = end_sessions(conn, user_id, None, EndReason::Banned).await?;
                    ("ban", events::banned(user_id))
                }
                State::Active => ("unban", events::unbanned(user_id)),
            };
            tell(conn, &event).await?;
            let details = json!({ "sessionsEnded": ended.len() });
            note(conn, admin, act, user_id, reason, details).await?;
        }
        Ok(Changed {
            value: (),
            ended,
            publish_epoch: state == State::Banned,
        })
    })
    .await?;
    Ok(account)
}

/// Changes what a user may do. Its sessions go on, with the new role from their next refresh.
pub(crate) async fn set_role(
    app: &App,
    admin: &Admin,
    user_id: UserId,
    role: Role,
    reason: &Reason,
) -> Result<Account, Error> {
    admin.not_itself(user_id)?;
    let (account, ()) = change(app, user_id, async |conn, locked| {
        if locked.role != role {
            store::account::set_role(conn, user_id, role).await?;
            store::account::raise_epoch(conn, user_id).await?;
            tell(conn, &events::role_changed(user_id, role)).await?;
            let details = json!({ "from": locked.role.name(), "to": role.name() });
            note(conn, admin, "set_role", user_id, reason, details).await?;
        }
        Ok(Changed {
            value: (),
            ended: Vec::new(),
            publish_epoch: true,
        })
    })
    .await?;
    Ok(account)
}

async fn note(
    conn: &mut PgConnection,
    admin: &Admin,
    act: &'static str,
    user_id: UserId,
    reason: &Reason,
    details: serde_json::Value,
) -> Result<(), Error> {
    let act = Act {
        actor: &admin.actor,
        act,
        subject: &user_id.to_string(),
        reason: reason.as_str(),
        details,
    };
    Ok(append(conn, &act).await?)
}
