//! Auth service: users, logins, tokens, sessions.

pub mod password;
pub mod phone;
pub mod sealed;
