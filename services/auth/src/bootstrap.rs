use ids::UserId;
use serde_json::json;
use sqlx::PgPool;

use crate::domain::Role;
use crate::store;
use crate::store::audit::{Act, append};

/// Makes a user an administrator, for the first one of an installation. Returns false if there is no such user.
///
/// Needs the database alone; the user has the role after its next refresh. `actor` is who does it, for the audit.
///
/// # Errors
/// The database fails.
pub async fn bootstrap_admin(pool: &PgPool, user_id: UserId, actor: &str) -> Result<bool, sqlx::Error> {
    let mut tx = pool.begin_with("begin isolation level read committed").await?;
    let Some(locked) = store::account::lock(&mut tx, user_id).await? else {
        return Ok(false);
    };
    if locked.role != Role::Admin {
        store::account::set_role(&mut tx, user_id, Role::Admin).await?;
        // The job of the running service publishes it and keeps the older user out of the cache.
        store::account::raise_epoch(&mut tx, user_id).await?;
        let act = Act {
            actor,
            act: "set_role",
            subject: &user_id.to_string(),
            reason: "first administrator",
            details: json!({ "from": locked.role.name(), "to": Role::Admin.name() }),
        };
        append(&mut tx, &act).await?;
        let event = crate::events::role_changed(user_id, Role::Admin);
        match ::events::outbox::insert(&mut tx, crate::SCHEMA, &event).await {
            Ok(_) => {}
            Err(::events::outbox::Error::Database(error)) => return Err(error),
            Err(error @ ::events::outbox::Error::Invalid { .. }) => {
                return Err(sqlx::Error::Encode(error.into()));
            }
        }
    }
    tx.commit().await?;
    Ok(true)
}
