//! Auth service: users, logins, tokens, sessions.

pub mod invites;
pub mod limits;
pub mod password;
pub mod phone;
pub mod sealed;
pub mod sms;
pub mod wechat;

/// The service's migrations.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/auth");
