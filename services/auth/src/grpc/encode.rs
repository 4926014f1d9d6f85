//! From our types to the wire.

use std::time::{Duration, SystemTime};

use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use proto::auth::v1 as pb;

use crate::app::{App, Issued};
use crate::domain::{Account, Entry, Gender, Role, Session, SessionId, State};
use crate::error::Error;

/// How much of a phone number is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sight {
    Masked,
    Full,
}

pub(super) fn tokens(issued: Issued) -> pb::Tokens {
    pb::Tokens {
        access_token: issued.access_token,
        refresh_token: issued.refresh_token,
        access_expires_at: Some(system_time(issued.access_expires_at)),
        refresh_expires_at: Some(time(issued.refresh_expires_at)),
        user_id: issued.user_id.to_string(),
        session_id: issued.session_id.to_string(),
        new_user: issued.new_user,
    }
}

pub(super) fn user(app: &App, account: &Account, sight: Sight) -> Result<pb::User, Error> {
    let phone = match &account.phone_sealed {
        None => String::new(),
        Some(sealed) => {
            let phone = app.open_phone(account.id(), sealed)?;
            match sight {
                Sight::Masked => phone.masked(),
                Sight::Full => phone.e164().to_owned(),
            }
        }
    };
    Ok(pb::User {
        user_id: account.id().to_string(),
        phone,
        role: role(account.role).into(),
        state: state(account.state).into(),
        nickname: account.nickname.clone(),
        avatar: account.avatar.clone(),
        gender: gender(account.gender).into(),
        referrer_id: account
            .referrer_id
            .map(|id| ids::UserId::from_uuid(id).to_string())
            .unwrap_or_default(),
        invite_code: account.invite_code.clone().unwrap_or_default(),
        has_password: account.has_password,
        has_wechat: account.has_wechat,
        quota_remaining: None,
        created_at: Some(time(account.created_at)),
        updated_at: Some(time(account.updated_at)),
    })
}

pub(super) fn session(session: Session, current: SessionId) -> pb::Session {
    pb::Session {
        current: session.session_id == current,
        session_id: session.session_id.to_string(),
        device: session.device,
        ip: session.ip,
        created_at: Some(time(session.created_at)),
        refreshed_at: Some(time(session.refreshed_at)),
        expires_at: Some(time(session.expires_at)),
    }
}

pub(super) fn entry(entry: Entry) -> pb::ConfigurationEntry {
    pb::ConfigurationEntry {
        key: entry.key,
        value_json: entry.value.to_string(),
        public: entry.public,
        version: entry.version,
        updated_at: Some(time(entry.updated_at)),
    }
}

/// Whole seconds, rounded up.
pub(super) fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(u32::MAX)
}

const fn role(role: Role) -> pb::Role {
    match role {
        Role::User => pb::Role::User,
        Role::Admin => pb::Role::Admin,
    }
}

const fn state(state: State) -> pb::UserState {
    match state {
        State::Active => pb::UserState::Active,
        State::Banned => pb::UserState::Banned,
    }
}

const fn gender(gender: Gender) -> pb::Gender {
    match gender {
        Gender::Unspecified => pb::Gender::Unspecified,
        Gender::Female => pb::Gender::Female,
        Gender::Male => pb::Gender::Male,
        Gender::Other => pb::Gender::Other,
    }
}

fn system_time(at: SystemTime) -> Timestamp {
    time(at.into())
}

fn time(time: DateTime<Utc>) -> Timestamp {
    Timestamp {
        seconds: time.timestamp(),
        nanos: i32::try_from(time.timestamp_subsec_nanos()).unwrap_or_default(),
    }
}
