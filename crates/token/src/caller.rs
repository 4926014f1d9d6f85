//! Who is calling.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ids::UserId;
use rpc::error::Reason;
use rpc::step::ACTOR_HEADER;
use tonic::metadata::MetadataMap;
use tonic::{Request, Status};

use crate::error::Refusal;

/// The orchestrator's name, the only caller of `<Domain>Steps` services.
pub const ORCHESTRATOR: &str = "saga";
/// Name under which people administer: the command line.
pub const OPERATOR: &str = "operator";
/// Services that are believed when they say for whom they act.
const SPEAK_FOR_PEOPLE: [&str; 2] = [OPERATOR, "gateway"];
/// Longest name of a service, in characters.
const MAX_NAME_CHARS: usize = 128;

/// Who is calling, as the layer has verified it. It is in the extensions of every request that reaches a handler.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Caller {
    /// Nobody in particular; only public methods are reached so.
    #[default]
    Anonymous,
    /// A person who has logged in.
    User(User),
    /// A service of ours, or a person at the command line ([`OPERATOR`]).
    Service {
        /// Its name: `saga`, `task`, `operator`.
        name: ServiceName,
    },
}

/// A person who has logged in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The account.
    pub user_id: UserId,
    /// The session that the token belongs to: 1 to 64 letters, digits, underscores and hyphens.
    pub session_id: Arc<str>,
    /// What the person may do.
    pub role: Role,
    /// How often the user's rights had changed when the token was made.
    pub epoch: i64,
}

/// What a person may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Act for itself.
    User,
    /// Act for any user, and on the platform.
    Admin,
}

impl Role {
    /// Returns the name in a token.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
        }
    }
}

/// Name of a service: 1 to 128 letters, digits, dots, underscores and hyphens; a participant that is not ours goes by its
/// package or full name. It is a part of file names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Arc<str>);

/// The text is not the name of a service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a name of 1 to 128 letters, digits, dots, underscores and hyphens")]
pub struct NameError(String);

impl ServiceName {
    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ServiceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._".contains(&b);
        let right = (1..=MAX_NAME_CHARS).contains(&text.len()) && text.bytes().all(allowed);
        right
            .then(|| Self(text.into()))
            .ok_or_else(|| NameError(text.chars().take(MAX_NAME_CHARS).collect()))
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns who sent the request: what the layer has put there, nobody if there was no layer.
#[must_use]
pub fn caller<T>(request: &Request<T>) -> Caller {
    request.extensions().get::<Caller>().cloned().unwrap_or_default()
}

impl Caller {
    /// Tells whether it is the service of this name.
    #[must_use]
    pub fn is_service(&self, wanted: &str) -> bool {
        matches!(self, Self::Service { name } if name.as_str() == wanted)
    }

    /// Tells whether it may act for any user: an administrator or a service.
    #[must_use]
    pub const fn is_privileged(&self) -> bool {
        match self {
            Self::Anonymous => false,
            Self::User(user) => matches!(user.role, Role::Admin),
            Self::Service { .. } => true,
        }
    }

    /// Returns the user that a request is about: the one it names in `user_id`, or the caller if it names none.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` for nobody; `PERMISSION_DENIED` if a user names another one; in the name of the service, `domain`:
    /// `INVALID_ID` if what is named is not a user, `INVALID_ARGUMENT` if a service names none.
    pub fn subject_user(&self, requested: &str, domain: &str) -> Result<UserId, Status> {
        let wrong = |reason: Reason, text: String| {
            let field = HashMap::from([("field".to_owned(), "user_id".to_owned())]);
            reason.status_with(domain, text, field)
        };
        let named = || {
            requested
                .parse::<UserId>()
                .map_err(|error| wrong(Reason::InvalidId, format!("user_id: {error}")))
        };
        match self {
            Self::Anonymous => Err(Refusal::Anonymous.into()),
            Self::User(user) if requested.is_empty() => Ok(user.user_id),
            Self::User(user) => match named()? {
                named if named == user.user_id || user.role == Role::Admin => Ok(named),
                _ => Err(Refusal::Denied("user_id is another user").into()),
            },
            Self::Service { .. } if requested.is_empty() => {
                Err(wrong(Reason::InvalidArgument, "user_id is missing".to_owned()))
            }
            Self::Service { .. } => named(),
        }
    }

    /// Returns the only user whose things the caller may see; `None` if it may see everybody's.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` for nobody.
    pub fn confined_to(&self) -> Result<Option<UserId>, Status> {
        match self {
            Self::Anonymous => Err(Refusal::Anonymous.into()),
            Self::User(user) if user.role == Role::User => Ok(Some(user.user_id)),
            Self::User(_) | Self::Service { .. } => Ok(None),
        }
    }

    /// Returns who acts, for an audit, cut to 128 characters: a user's id; for `operator` and `gateway` the text of the header
    /// `evenkeel-actor`; for another service its name, with what it says of itself after a slash: `task/user_…`.
    #[must_use]
    pub fn actor(&self, metadata: &MetadataMap) -> String {
        let said = metadata
            .contains_key(ACTOR_HEADER)
            .then(|| rpc::step::actor(metadata));
        match (self, said) {
            (Self::Anonymous, _) => "anonymous".to_owned(),
            (Self::User(user), _) => user.user_id.to_string(),
            (Self::Service { name }, None) => name.to_string(),
            (Self::Service { name }, Some(said)) if SPEAK_FOR_PEOPLE.contains(&name.as_str()) => said,
            (Self::Service { name }, Some(said)) => format!("{name}/{said}").chars().take(128).collect(),
        }
    }

    /// Returns the label of what is counted: one of `anonymous`, `user`, `admin`, `service`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Anonymous => "anonymous",
            Self::User(user) => user.role.name(),
            Self::Service { .. } => "service",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(role: Role) -> (UserId, Caller) {
        let user_id = UserId::new();
        let caller = Caller::User(User {
            user_id,
            session_id: "s1".into(),
            role,
            epoch: 0,
        });
        (user_id, caller)
    }

    fn service(name: &str) -> Caller {
        Caller::Service {
            name: name.parse().unwrap(),
        }
    }

    fn reason(result: Result<UserId, Status>) -> String {
        rpc::error::info(&result.unwrap_err()).unwrap().reason
    }

    #[test]
    fn a_user_acts_for_itself_only() {
        let (own, caller) = user(Role::User);
        assert_eq!(caller.subject_user("", "quota.evenkeel").unwrap(), own);
        assert_eq!(
            caller.subject_user(&own.to_string(), "quota.evenkeel").unwrap(),
            own
        );
        let other = UserId::new().to_string();
        assert_eq!(
            reason(caller.subject_user(&other, "quota.evenkeel")),
            "PERMISSION_DENIED"
        );
        assert_eq!(
            reason(caller.subject_user("task_1", "quota.evenkeel")),
            "INVALID_ID"
        );
        assert_eq!(caller.confined_to().unwrap(), Some(own));
    }

    #[test]
    fn administrators_and_services_act_for_anybody() {
        let other = UserId::new();
        let (own, admin) = user(Role::Admin);
        assert_eq!(admin.subject_user("", "quota.evenkeel").unwrap(), own);
        for caller in [admin, service("task")] {
            assert_eq!(
                caller.subject_user(&other.to_string(), "quota.evenkeel").unwrap(),
                other
            );
            assert_eq!(caller.confined_to().unwrap(), None);
        }
        assert_eq!(
            reason(service("task").subject_user("", "quota.evenkeel")),
            "INVALID_ARGUMENT"
        );
    }

    #[test]
    fn nobody_acts_for_nobody() {
        assert_eq!(
            reason(Caller::Anonymous.subject_user("", "quota.evenkeel")),
            "UNAUTHENTICATED"
        );
        assert!(Caller::Anonymous.confined_to().is_err());
    }

    #[test]
    fn an_actor_is_only_named_by_those_who_speak_for_people() {
        let mut metadata = MetadataMap::new();
        assert_eq!(service("operator").actor(&metadata), "operator");
        assert_eq!(service("task").actor(&metadata), "task");
        metadata.insert(ACTOR_HEADER, "alice@laptop".parse().unwrap());
        assert_eq!(service("operator").actor(&metadata), "alice@laptop");
        assert_eq!(service("gateway").actor(&metadata), "alice@laptop");
        assert_eq!(service("task").actor(&metadata), "task/alice@laptop");
        let (own, caller) = user(Role::Admin);
        assert_eq!(caller.actor(&metadata), own.to_string());
        assert_eq!(Caller::Anonymous.actor(&metadata), "anonymous");
    }

    #[test]
    fn a_name_is_no_path() {
        for wrong in ["", "../saga", "a/b", "a\0", "a b", &"x".repeat(129)] {
            assert!(wrong.parse::<ServiceName>().is_err(), "{wrong}");
        }
        assert!("acme.shop.v1.ShopSteps".parse::<ServiceName>().is_ok());
    }
}
