//! One operation, one file. An operation that changes a user does so under the lock of its row ([`change`]); what the
//! key-value store must know of it is told in the order that a crash at any line leaves right.

mod change;
mod change_password;
mod configuration;
mod login;
mod moderate;
mod read;
mod refresh;
mod register;
mod reset_password;
mod send_sms_code;
mod sessions;
mod tokens;
mod update_me;
mod wechat_login;

use std::sync::Arc;

use ids::UserId;
use kv::Kv;
use process::PoolGauge;
use proto::quota::v1::quota_service_client::QuotaServiceClient;
use rpc::channel::Channel;
use sqlx::PgConnection;

use crate::cache::Cache;
use crate::config::Config;
use crate::epochs::Epochs;
use crate::error::Error;
use crate::keys::Keys;
use crate::limits::Limits;
use crate::password::Passwords;
use crate::phone::Phone;
use crate::sealed::{Place, Vault};
use crate::sms::SmsSender;
use crate::store::account::Sealed;
use crate::wechat::Wechat;

pub(crate) use change_password::change_password;
pub(crate) use configuration::{public_configuration, set_configuration};
pub(crate) use login::{Proof, login};
pub(crate) use moderate::{Admin, set_role, set_state};
pub(crate) use read::{get_user, list_users, me, quota_remaining};
pub(crate) use refresh::refresh;
pub(crate) use register::{Referral, Registration, register};
pub(crate) use reset_password::reset_password;
pub(crate) use send_sms_code::send_sms_code;
pub(crate) use sessions::{list_sessions, logout, logout_everywhere, logout_token, revoke_session};
pub(crate) use tokens::{Client, Issued};
pub(crate) use update_me::update_me;
pub(crate) use wechat_login::wechat_login;

/// Handles of everything an operation may need. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) pool: PoolGauge,
    pub(crate) kv: Kv,
    pub(crate) cache: Cache,
    pub(crate) epochs: Epochs,
    pub(crate) keys: Keys,
    pub(crate) vault: Vault,
    pub(crate) passwords: Passwords,
    pub(crate) limits: Limits,
    pub(crate) sms: SmsSender,
    pub(crate) wechat: Wechat,
    pub(crate) quota: Option<QuotaServiceClient<Channel>>,
    pub(crate) config: Arc<Config>,
}

/// What of a user is stored encrypted.
#[derive(Debug, Clone, Copy)]
enum Field {
    Phone,
    Openid,
    Unionid,
}

impl Field {
    /// What is hashed for one field does not find another.
    const fn context(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Openid => "wechat_openid",
            Self::Unionid => "wechat_unionid",
        }
    }

    const fn column(self) -> &'static str {
        match self {
            Self::Phone => "phone_sealed",
            Self::Openid => "wechat_openid_sealed",
            Self::Unionid => "wechat_unionid_sealed",
        }
    }
}

impl App {
    /// Encrypts a field of a user, with the keyed hash by which it is found.
    fn seal(&self, user_id: UserId, field: Field, value: &str) -> Result<Sealed, Error> {
        let row = user_id.to_string();
        Ok(Sealed {
            sealed: self.vault.seal(place(field, &row), value.as_bytes())?,
            blind: self.blind(field, value),
        })
    }

    /// Returns the keyed hash by which a field is found.
    fn blind(&self, field: Field, value: &str) -> Vec<u8> {
        self.vault.blind(field.context(), value)
    }

    /// Returns the keyed hash by which a phone number is found.
    pub(crate) fn blind_phone(&self, phone: &Phone) -> Vec<u8> {
        self.blind(Field::Phone, phone.e164())
    }

    /// Decrypts the phone number of a user.
    pub(crate) fn open_phone(&self, user_id: UserId, sealed: &[u8]) -> Result<Phone, Error> {
        let row = user_id.to_string();
        let bytes = self.vault.open(place(Field::Phone, &row), sealed)?;
        let text = std::str::from_utf8(&bytes).ok();
        text.and_then(|text| Phone::parse(text).ok())
            .ok_or(Error::Broken("a stored phone number is none"))
    }
}

/// A sealed field cannot be moved to another user or column.
fn place(field: Field, row: &str) -> Place<'_> {
    Place {
        table: "auth.account",
        column: field.column(),
        row,
    }
}

/// Runs work in a transaction of its own; rolls back if it fails.
async fn transaction<T>(
    pool: &PoolGauge,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, Error>,
) -> Result<T, Error> {
    // Waiting for a row, and then seeing what its last holder did, needs READ COMMITTED.
    let mut tx = pool.begin_with("begin isolation level read committed").await?;
    let done = work(&mut tx).await?;
    tx.commit().await?;
    Ok(done)
}

/// Writes an event in the transaction that makes it true.
async fn tell(conn: &mut PgConnection, event: &::events::Event) -> Result<(), Error> {
    ::events::outbox::insert(conn, crate::SCHEMA, event).await?;
    Ok(())
}
