//! Whether an administrator's token is older than the last change of its rights.
//!
//! The auth service raises the epoch of a user on a ban, a change of role, and a logout everywhere, and writes it into new
//! tokens. Access tokens of plain users run out by themselves; what an administrator may do is worth a look.

use ids::UserId;
use kv::{Key, Kv};

use crate::caller::{Caller, Role};
use crate::error::Refusal;

/// Where the epoch of a user is kept: a decimal number; nothing stands for 0.
#[must_use]
pub fn epoch_key(user_id: UserId) -> Key {
    Key::new("epoch", &[&user_id.to_string()])
}

/// Refuses an administrator whose token is not current. Others have nothing that is checked here.
///
/// # Errors
/// `Revoked`; or `EpochUnknown` if the store does not answer, there is none, or what it holds is not a number.
pub(crate) async fn check(store: Option<&Kv>, caller: &Caller) -> Result<(), Refusal> {
    let Caller::User(user) = caller else {
        return Ok(());
    };
    if user.role != Role::Admin {
        return Ok(());
    }
    let store = store.ok_or(Refusal::EpochUnknown)?;
    let stored = match store.get(&epoch_key(user.user_id)).await {
        Ok(stored) => stored,
        Err(error) => {
            tracing::warn!(%error, "the epoch of an administrator cannot be read; the call is refused");
            return Err(Refusal::EpochUnknown);
        }
    };
    let current = match stored {
        None => 0,
        Some(text) => std::str::from_utf8(&text)
            .ok()
            .and_then(|text| text.parse::<i64>().ok())
            .ok_or(Refusal::EpochUnknown)?,
    };
    if user.epoch < current {
        return Err(Refusal::Revoked);
    }
    Ok(())
}
