//! The facts that other services learn from the outbox. Key is the user id, so those of one user keep their order. Data:
//! `userId`, `timestamp` (RFC 3339), and what the topic adds. No phone numbers, no addresses, no names.

use chrono::{SecondsFormat, Utc};
use events::Event;
use ids::UserId;
use serde_json::{Value, json};

use crate::domain::{EndReason, Method, Role, SessionId};

/// Topics that the service publishes whether or not anybody wants them.
pub const FACTS: &[&str] = &[
    "user.registered",
    "user.updated",
    "user.banned",
    "user.unbanned",
    "user.role_changed",
    "user.password_changed",
    "user.referral_bonus",
    "session.opened",
    "session.ended",
    "session.reuse_detected",
];

/// A user has been made; `method` is how it proved itself.
pub(crate) fn registered(user_id: UserId, method: Method, referrer_id: Option<UserId>) -> Event {
    let data = json!({
        "method": method.name(),
        "referrerId": referrer_id.map(|id| id.to_string()),
    });
    fact("user.registered", user_id, data)
}

/// A user is owed something for having brought another one.
pub(crate) fn referral_bonus(referrer_id: UserId, referred: UserId) -> Event {
    let data = json!({ "referredUserId": referred.to_string() });
    fact("user.referral_bonus", referrer_id, data)
}

/// A user has changed fields of its profile.
pub(crate) fn updated(user_id: UserId, fields: &[&str]) -> Event {
    fact("user.updated", user_id, json!({ "fields": fields }))
}

/// A user has been banned.
pub(crate) fn banned(user_id: UserId) -> Event {
    fact("user.banned", user_id, json!({}))
}

/// A ban has ended.
pub(crate) fn unbanned(user_id: UserId) -> Event {
    fact("user.unbanned", user_id, json!({}))
}

/// A user may do something else.
pub(crate) fn role_changed(user_id: UserId, role: Role) -> Event {
    fact("user.role_changed", user_id, json!({ "role": role.name() }))
}

/// A user has another password.
pub(crate) fn password_changed(user_id: UserId) -> Event {
    fact("user.password_changed", user_id, json!({}))
}

/// A user has logged in.
pub(crate) fn session_opened(user_id: UserId, session_id: SessionId, method: Method) -> Event {
    let data = json!({ "sessionId": session_id.to_string(), "method": method.name() });
    fact("session.opened", user_id, data)
}

/// A session has ended before its time.
pub(crate) fn session_ended(user_id: UserId, session_id: SessionId, reason: EndReason) -> Event {
    let data = json!({ "sessionId": session_id.to_string(), "reason": reason.name() });
    fact("session.ended", user_id, data)
}

/// Two parties hold refresh tokens of a session.
pub(crate) fn reuse_detected(user_id: UserId, session_id: SessionId) -> Event {
    let data = json!({ "sessionId": session_id.to_string() });
    fact("session.reuse_detected", user_id, data)
}

fn fact(topic: &'static str, user_id: UserId, mut data: Value) -> Event {
    data["userId"] = json!(user_id.to_string());
    data["timestamp"] = json!(Utc::now().to_rfc3339_opts(SecondsFormat::Micros, true));
    Event::new(topic, user_id.to_string(), data)
}
