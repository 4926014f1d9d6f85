//! All SQL of the service, one statement one function. Who changes a user or ends several of its sessions holds the lock
//! on the row of the account; locks on sessions come after it.

pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod configuration;
pub(crate) mod session;
pub(crate) mod signing_key;

/// What a text column that only ever holds a few names decodes to.
fn named<T>(column: &str, text: &str, from_name: impl FnOnce(&str) -> Option<T>) -> Result<T, sqlx::Error> {
    from_name(text).ok_or_else(|| sqlx::Error::Decode(format!("{column} {text:?}").into()))
}
