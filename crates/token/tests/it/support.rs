//! Keys of a platform of its own, and tokens that ours would never make.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ids::UserId;
use jsonwebtoken::crypto;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};
use tempfile::TempDir;
use token::{
    AccessClaims, Credentials, KeySet, Role, ServiceKeys, ServiceName, SigningKey, User, UserKeys, Verifier,
};

pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

/// A directory with the keys of some services, and a key for users' tokens.
pub(crate) struct Platform {
    pub(crate) dir: TempDir,
    pub(crate) auth: SigningKey,
}

impl Platform {
    pub(crate) fn new() -> Self {
        let platform = Self {
            dir: tempfile::tempdir().unwrap(),
            auth: SigningKey::generate().unwrap(),
        };
        for service in ["saga", "task", "quota", "operator"] {
            platform.add(service);
        }
        platform
    }

    pub(crate) fn add(&self, service: &str) {
        token::create(self.dir.path(), &name(service)).unwrap();
    }

    pub(crate) fn credentials(&self, service: &str) -> Credentials {
        Credentials::open(self.dir.path(), name(service)).unwrap()
    }

    pub(crate) fn services(&self) -> ServiceKeys {
        ServiceKeys::open(self.dir.path()).unwrap()
    }

    /// Verifies for the quota service.
    pub(crate) fn verifier(&self) -> Verifier {
        let users = UserKeys::fixed(KeySet::new([self.auth.jwk()]).unwrap());
        Verifier::new(name("quota"), self.services(), users)
    }

    /// A token of a user, made now.
    pub(crate) fn access(&self, role: Role, epoch: i64) -> (UserId, String) {
        let user_id = UserId::new();
        let now = SystemTime::now();
        let claims = AccessClaims {
            user: User {
                user_id,
                session_id: "s-1".into(),
                role,
                epoch,
            },
            token_id: "t-1".into(),
            issued_at: now,
            expires_at: now + Duration::from_secs(900),
        };
        (user_id, token::sign_access(&claims, &self.auth))
    }

    /// A token with which `from` calls quota, made now.
    pub(crate) fn service(&self, from: &str) -> String {
        self.credentials(from).token(&name("quota"), SystemTime::now())
    }

    /// The key with which a service signs.
    pub(crate) fn private(&self, service: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(format!("{service}.key.pem"))).unwrap()
    }
}

pub(crate) fn unix(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Header and claims of a good access token.
pub(crate) fn access_parts(platform: &Platform, now: SystemTime) -> (Value, Value) {
    let header = json!({"alg": "EdDSA", "typ": "at+jwt", "kid": platform.auth.kid()});
    let claims = json!({
        "iss": "evenkeel", "aud": "evenkeel", "sub": UserId::new().to_string(), "sid": "s-1", "jti": "t-1",
        "role": "user", "epoch": 0, "iat": unix(now), "nbf": unix(now), "exp": unix(now) + 900,
    });
    (header, claims)
}

/// Header and claims of a good token of the task service for quota.
pub(crate) fn service_parts(now: SystemTime) -> (Value, Value) {
    let header = json!({"alg": "EdDSA", "typ": "svc+jwt", "kid": "task"});
    let claims = json!({
        "iss": "task", "aud": "quota", "sub": "task", "iat": unix(now), "nbf": unix(now), "exp": unix(now) + 300,
    });
    (header, claims)
}

/// Signs anything, with an independent library.
pub(crate) fn forge(header: &Value, claims: &Value, pem: &str) -> String {
    let key = EncodingKey::from_ed_pem(pem.as_bytes()).unwrap();
    signed(header, claims, &key, Algorithm::EdDSA)
}

pub(crate) fn signed(header: &Value, claims: &Value, key: &EncodingKey, algorithm: Algorithm) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let text = format!("{}.{}", encode(header), encode(claims));
    let signature = crypto::sign(text.as_bytes(), key, algorithm).unwrap();
    format!("{text}.{signature}")
}

/// Counts how often something was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counter(Arc<AtomicUsize>);

impl Counter {
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn seen(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}
