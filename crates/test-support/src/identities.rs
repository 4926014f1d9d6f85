//! Who is who in a test: keys of services, and tokens of users.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use ids::UserId;
use token::{
    AccessClaims, Channel, Credentials, Guard, KeySet, Role, ServiceKeys, ServiceName, SigningKey, User,
    UserKeys, Verifier,
};

use crate::Scratch;

/// Services that have keys.
const SERVICES: [&str; 8] = [
    "saga", "quota", "task", "billing", "auth", "gateway", "operator", "bench",
];
/// Life of a user's token.
const LIFE: Duration = Duration::from_secs(15 * 60);

/// Made once for each test process; removed when it ends.
static SHARED: LazyLock<Identities> = LazyLock::new(Identities::new);

/// The keys of a platform.
#[derive(Debug)]
pub struct Identities {
    scratch: Scratch,
    users: SigningKey,
}

/// Returns the keys that all tests of this process share.
#[must_use]
pub fn identities() -> &'static Identities {
    &SHARED
}

fn name(service: &str) -> ServiceName {
    service.parse().expect("names of services are words")
}

impl Identities {
    fn new() -> Self {
        let identities = Self {
            scratch: Scratch::new().expect("a directory can be made"),
            users: SigningKey::generate().expect("a key can be made"),
        };
        for service in SERVICES {
            token::create(&identities.dir(), &name(service)).expect("a key can be written");
        }
        identities
    }

    /// Directory with the keys of services, as `evenkeel keys init` makes it.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        self.scratch.path().join("keys")
    }

    /// Key with which tokens of users are signed.
    #[must_use]
    pub const fn users(&self) -> &SigningKey {
        &self.users
    }

    /// What stands before the handlers of a service. It refuses administrators: it has no store of epochs.
    ///
    /// # Panics
    /// If the keys cannot be read.
    #[must_use]
    pub fn guard(&self, service: &str) -> Guard {
        let users = KeySet::new([self.users.jwk()]).expect("one key is a set");
        let services = ServiceKeys::open(&self.dir()).expect("the keys were written");
        Guard::new(Verifier::new(name(service), services, UserKeys::fixed(users)))
    }

    /// Name and key of a service.
    ///
    /// # Panics
    /// If it has none.
    #[must_use]
    pub fn credentials(&self, service: &str) -> Credentials {
        Credentials::open(&self.dir(), name(service))
            .unwrap_or_else(|error| panic!("{service} has no key: {error}"))
    }

    /// A channel to `url`, with which the service `from` calls the service `to`. Connects on first use.
    ///
    /// # Panics
    /// If the URL is not one.
    #[must_use]
    pub fn channel(&self, url: &str, from: &str, to: &str) -> Channel {
        let channel = rpc::channel::lazy(url).expect("a URL");
        self.credentials(from).channel(channel, name(to))
    }

    /// Value of `authorization` for a user who logged in a moment ago.
    #[must_use]
    pub fn bearer(&self, user_id: UserId, role: Role) -> String {
        let now = SystemTime::now();
        let claims = AccessClaims {
            user: User {
                user_id,
                session_id: "session-1".into(),
                role,
                epoch: 0,
            },
            token_id: "token-1".into(),
            issued_at: now,
            expires_at: now + LIFE,
        };
        format!("Bearer {}", token::sign_access(&claims, &self.users))
    }
}
