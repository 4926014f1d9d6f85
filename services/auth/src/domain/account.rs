//! A user.

use chrono::{DateTime, Utc};
use ids::UserId;
use serde::{Deserialize, Serialize};

use super::Gender;

/// What a user may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    User,
    Admin,
}

impl Role {
    pub(crate) const ALL: [Self; 2] = [Self::User, Self::Admin];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// Whether a user may act.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    Active,
    Banned,
}

impl State {
    pub(crate) const ALL: [Self; 2] = [Self::Active, Self::Banned];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Banned => "banned",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What may be shown of a user, and what is cached: no hash of a password, and the phone number encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) user_id: uuid::Uuid,
    pub(crate) phone_sealed: Option<Vec<u8>>,
    pub(crate) role: Role,
    pub(crate) state: State,
    pub(crate) nickname: String,
    pub(crate) avatar: String,
    pub(crate) gender: Gender,
    pub(crate) referrer_id: Option<uuid::Uuid>,
    pub(crate) invite_code: Option<String>,
    pub(crate) has_password: bool,
    pub(crate) has_wechat: bool,
    pub(crate) epoch: i64,
    /// Rises with every change.
    pub(crate) version: i64,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
}

impl Account {
    pub(crate) fn id(&self) -> UserId {
        UserId::from_uuid(self.user_id)
    }
}
