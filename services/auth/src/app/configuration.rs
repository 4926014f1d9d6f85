use serde_json::json;

use super::{Admin, App};
use crate::cache::{self, PublicEntries};
use crate::domain::{Entry, Key, MAX_ENTRIES, Value};
use crate::error::Error;
use crate::store;
use crate::store::audit::{Act, append};

/// Returns the entries that anybody may read, in the order of their keys.
pub(crate) async fn public_configuration(app: &App) -> Result<Vec<Entry>, Error> {
    let read = async {
        let (revision, entries) = store::configuration::public(&app.pool).await?;
        Ok(Some(PublicEntries { revision, entries }))
    };
    let found = app.cache.get(&cache::of_configuration(), read).await?;
    Ok(found.map(|found| found.entries).unwrap_or_default())
}

/// Sets an entry.
///
/// # Errors
/// `Invalid` if there are as many others as there may be.
pub(crate) async fn set_configuration(
    app: &App,
    admin: &Admin,
    key: &Key,
    value: &Value,
    public: bool,
) -> Result<Entry, Error> {
    let mut tx = app
        .pool
        .begin_with("begin isolation level read committed")
        .await?;
    let revision = store::configuration::next_revision(&mut tx).await?;
    if store::configuration::count_others(&mut tx, key).await? >= MAX_ENTRIES {
        return Err(Error::invalid("key", "is one too many: there are 100 entries"));
    }
    let entry = store::configuration::set(&mut tx, key, value, public, revision).await?;
    let act = Act {
        actor: &admin.actor,
        act: "set_configuration",
        subject: key.as_str(),
        reason: "",
        details: json!({ "value": value.as_json(), "public": public, "version": revision }),
    };
    append(&mut tx, &act).await?;
    app.cache.retire(&cache::of_configuration(), revision).await?;
    tx.commit().await?;
    Ok(entry)
}
