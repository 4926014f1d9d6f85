//! Who is calling: tokens, their verification, and the layer before every service.
//!
//! ```text
//!  user ── Bearer at+jwt (signed by auth) ──────┐
//!  service ── Bearer svc+jwt (signed by itself) ├─► Layer ─► Verifier ─► Caller ─► Rule of the method ─► handler
//!  service ── certificate of the connection ────┘                                                       (extensions)
//! ```
//!
//! * [`Guard`] makes the [`Layer`] of a listener; [`caller`] is what handlers read.
//! * [`Verifier`] turns a token into a [`Caller`]; [`ServiceKeys`] and [`UserKeys`] are what it believes.
//! * [`Credentials`] make the tokens that a service shows to others; [`sign_access`] makes those of users.
//! * [`Rule`] is the option `(evenkeel.access.v1.access)` of a method.
//!
//! What it is not: a place for logins, sessions or passwords (the auth service), or for what a user may do with a thing of
//! its own (the handlers).
//!
//! # Invariants
//! * A method that does not say who may call it is not served.
//! * A token is believed for one purpose: `typ`, audience and issuer are checked after the signature, all of them, and EdDSA is
//!   the only algorithm there is.
//! * A service's token on a connection of another service is refused (docs/adr/0015).
//! * Nothing remembered outlives the `exp` of its token.
//! * What cannot be checked is refused: a key or an epoch that cannot be had is `UNAVAILABLE`, never a yes.
//! * Readiness does not depend on the auth service: with it away, known keys go on working.

mod access;
mod caller;
mod claims;
mod credentials;
mod directory;
mod epoch;
mod error;
mod jws;
mod keys;
mod layer;
mod metric;
mod peer;
mod users;
mod verifier;

pub use access::{AccessError, Rule};
pub use caller::{Caller, NameError, OPERATOR, ORCHESTRATOR, Role, ServiceName, User, caller};
pub use claims::{AccessClaims, sign_access};
pub use credentials::{Bearer, Channel, Credentials};
pub use directory::{Created, DirectoryError, ServiceKeys, create};
pub use epoch::epoch_key;
pub use error::{DOMAIN, Error, Refusal};
pub use keys::{Jwk, JwksError, KeyError, KeySet, SigningKey, VerifyingKey};
pub use layer::{Guard, Guarded, Layer};
pub use peer::{certificate_uri, certified};
pub use users::UserKeys;
pub use verifier::Verifier;
