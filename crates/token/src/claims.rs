//! What tokens say, and what of it is believed.
//!
//! Two types, which never pass for each other: access tokens of people (RFC 9068), issued by the auth service, and service
//! tokens, which a service signs itself for one other service.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ids::UserId;
use serde::{Deserialize, Serialize};

use crate::caller::{Role, ServiceName, User};
use crate::error::Error;
use crate::jws;
use crate::keys::SigningKey;

/// `typ` of access tokens (RFC 9068, 2.1).
pub(crate) const ACCESS: &str = "at+jwt";
/// `typ` of service tokens.
pub(crate) const SERVICE: &str = "svc+jwt";
/// Who issues access tokens, and for whom: every service of the platform.
const PLATFORM: &str = "evenkeel";
/// How much the clocks of two machines may differ.
pub(crate) const LEEWAY: Duration = Duration::from_secs(30);
/// How long a service token lives; one that claims to live longer is refused.
pub(crate) const SERVICE_LIFETIME: Duration = Duration::from_secs(5 * 60);
/// Longest life of an access token; how long it really lives is the auth service's setting.
const MAX_ACCESS_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// Longest `sid` and `jti`, in characters.
const MAX_ID_CHARS: usize = 64;

/// What the auth service says of a person for a quarter of an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessClaims {
    /// Who, in which session, with which rights.
    pub user: User,
    /// Unique among tokens: 1 to 64 letters, digits, underscores and hyphens.
    pub token_id: Arc<str>,
    /// When it was made; not valid earlier.
    pub issued_at: SystemTime,
    /// When it ends, at most 1 h later. Written in whole seconds.
    pub expires_at: SystemTime,
}

/// As on the wire. Claims that are not listed are ignored (RFC 7519, 4); all that are must be there.
#[derive(Serialize, Deserialize)]
struct AccessWire {
    iss: String,
    aud: String,
    sub: String,
    sid: String,
    jti: String,
    role: Role,
    epoch: i64,
    iat: u64,
    nbf: u64,
    exp: u64,
}

#[derive(Serialize, Deserialize)]
struct ServiceWire {
    iss: String,
    aud: String,
    sub: String,
    iat: u64,
    nbf: u64,
    exp: u64,
}

/// Signs an access token. The `kid` of the key must be in the JWKS that verifiers read.
#[must_use]
pub fn sign_access(claims: &AccessClaims, key: &SigningKey) -> String {
    let wire = AccessWire {
        iss: PLATFORM.to_owned(),
        aud: PLATFORM.to_owned(),
        sub: claims.user.user_id.to_string(),
        sid: claims.user.session_id.to_string(),
        jti: claims.token_id.to_string(),
        role: claims.user.role,
        epoch: claims.user.epoch,
        iat: seconds(claims.issued_at),
        nbf: seconds(claims.issued_at),
        exp: seconds(claims.expires_at),
    };
    jws::sign(ACCESS, &wire, key)
}

/// Signs a token with which `name` calls `audience` for the next 5 min.
pub(crate) fn sign_service(
    name: &ServiceName,
    audience: &ServiceName,
    now: SystemTime,
    key: &SigningKey,
) -> String {
    let wire = ServiceWire {
        iss: name.to_string(),
        aud: audience.to_string(),
        sub: name.to_string(),
        iat: seconds(now),
        nbf: seconds(now),
        exp: seconds(now + SERVICE_LIFETIME),
    };
    jws::sign(SERVICE, &wire, key)
}

/// Something that was believed until an instant.
#[derive(Debug, Clone)]
pub(crate) struct Until<T> {
    pub(crate) what: T,
    /// Unix seconds; the leeway comes on top.
    pub(crate) expires: u64,
}

/// Checks the claims of an access token whose signature is verified already.
pub(crate) fn read_access(
    token: &jws::Unverified<'_>,
    key: &crate::keys::VerifyingKey,
    now: SystemTime,
) -> Result<Until<User>, Error> {
    let wire: AccessWire = token.verify(key)?;
    if wire.iss != PLATFORM {
        return Err(Error::Issuer);
    }
    if wire.aud != PLATFORM {
        return Err(Error::Audience);
    }
    let user_id: UserId = wire.sub.parse().map_err(|_| Error::Subject)?;
    if !is_id(&wire.sid) || !is_id(&wire.jti) || wire.epoch < 0 {
        return Err(Error::Malformed);
    }
    check_times(wire.iat, wire.nbf, wire.exp, MAX_ACCESS_LIFETIME, now)?;
    Ok(Until {
        what: User {
            user_id,
            session_id: wire.sid.into(),
            role: wire.role,
            epoch: wire.epoch,
        },
        expires: wire.exp,
    })
}

/// Checks the claims of a token that is signed with the key of the service `name`, for `audience`.
pub(crate) fn read_service(
    token: &jws::Unverified<'_>,
    key: &crate::keys::VerifyingKey,
    name: &ServiceName,
    audience: &ServiceName,
    now: SystemTime,
) -> Result<Until<ServiceName>, Error> {
    let wire: ServiceWire = token.verify(key)?;
    if wire.iss != name.as_str() {
        return Err(Error::Issuer);
    }
    if wire.sub != name.as_str() {
        return Err(Error::Subject);
    }
    if wire.aud != audience.as_str() {
        return Err(Error::Audience);
    }
    check_times(wire.iat, wire.nbf, wire.exp, SERVICE_LIFETIME, now)?;
    Ok(Until {
        what: name.clone(),
        expires: wire.exp,
    })
}

fn check_times(iat: u64, nbf: u64, exp: u64, longest: Duration, now: SystemTime) -> Result<(), Error> {
    if has_expired(exp, now) {
        return Err(Error::Expired);
    }
    let latest = seconds(now).saturating_add(LEEWAY.as_secs());
    if iat > latest || nbf > latest || exp.saturating_sub(iat) > longest.as_secs() {
        return Err(Error::NotYetValid);
    }
    Ok(())
}

/// Tells whether an `exp` has passed, leeway included.
pub(crate) fn has_expired(exp: u64, now: SystemTime) -> bool {
    exp.saturating_add(LEEWAY.as_secs()) <= seconds(now)
}

fn is_id(text: &str) -> bool {
    (1..=MAX_ID_CHARS).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Unix time in whole seconds; 0 for a clock that is before 1970.
fn seconds(at: SystemTime) -> u64 {
    at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}
