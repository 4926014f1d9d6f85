//! Auth service: users, logins, tokens, sessions.
//!
//! [`build`] wires `evenkeel.auth.v1.AuthService` (who is calling) and `evenkeel.auth.v1.UserService` (users and
//! configuration), to be served behind the layer of the crate `token`.
//!
//! # Invariants
//! * The database decides who a user is, whether it may act, and whether its session goes on. The key-value store holds which
//!   refresh token of a session is the good one: when it is lost users log in again, and nobody gets in who should not.
//! * Whatever takes rights away (ban, role, password, logout) raises the user's epoch in the same transaction. It is published
//!   after the commit, and by a job until every older access token has expired: a crash at any line delays it by seconds.
//! * Locks are taken in this order: the row of an account, its sessions, the rest. Nothing is held while a password is hashed
//!   or a provider is asked.
//! * Phone numbers, WeChat ids and private keys are stored encrypted; events and logs hold none of them.
//! * A user is found by unique blind indexes, so any number of first logins make one user.
//! * The same work is done for an unknown phone number as for a wrong password.
//!
//! # What it is not
//! The keeper of quota (asked for the profile only, which is shown without it), or the place where callers of other services
//! are checked: that is `token`, in each of them.

mod app;
mod bootstrap;
mod cache;
mod config;
mod domain;
mod epochs;
mod error;
mod events;
mod grpc;
pub mod invites;
mod jobs;
mod keys;
pub mod limits;
pub mod password;
pub mod phone;
mod provider;
pub mod sealed;
pub mod sms;
mod store;
pub mod wechat;

use std::sync::Arc;

use kv::Kv;
use process::PoolGauge;
use proto::auth::v1::auth_service_server::AuthServiceServer;
use proto::auth::v1::user_service_server::UserServiceServer;
use proto::quota::v1::quota_service_client::QuotaServiceClient;
use rpc::channel::Channel;
use token::UserKeys;
use tonic::service::Routes;

pub use crate::bootstrap::bootstrap_admin;
pub use crate::events::FACTS;
pub use config::{Config, Error};
pub use jobs::Job;

/// Schema of the service, which the pool's `search_path` must name.
pub const SCHEMA: &str = "auth";
/// Migrations of the schema.
pub static MIGRATOR: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/auth");
/// Domain of the service's reasons in `google.rpc.ErrorInfo`.
pub const DOMAIN: &str = "auth.evenkeel";
/// Full names of the services, for the layer before them.
pub const SERVICES: [&str; 2] = ["evenkeel.auth.v1.AuthService", "evenkeel.auth.v1.UserService"];

/// What the service needs.
#[derive(Debug, Clone)]
pub struct Deps {
    /// Connections, on the schema [`SCHEMA`].
    pub pool: PoolGauge,
    /// The key-value store.
    pub kv: Kv,
    /// The quota service, if profiles are to show what is left.
    pub quota: Option<QuotaServiceClient<Channel>>,
}

/// The service, ready to be served.
#[derive(Debug)]
pub struct Service {
    /// Both services, for the public listener.
    pub public: Routes,
    /// Background work.
    pub jobs: Vec<Job>,
    /// The keys of users' tokens as this process itself holds them, for its own layer.
    pub user_keys: UserKeys,
    /// Hashing of passwords, for whoever counts its work.
    pub passwords: password::Passwords,
}

/// Wires the service. Reads the signing keys, which the first replica makes, so that the first token that comes can be
/// verified; connects to nothing else.
///
/// # Errors
/// The settings cannot be used, and every mistake is named; or the signing keys cannot be read.
pub async fn build(config: Config, deps: Deps) -> Result<Service, Error> {
    let parts = config.parts()?;
    let app = app::App {
        cache: cache::Cache::new(deps.kv.clone(), config.cache_ttl),
        epochs: epochs::Epochs::new(deps.kv.clone(), config.access_ttl),
        keys: keys::Keys::new(deps.pool.clone(), parts.vault.clone(), config.key_times()),
        limits: limits::Limits::new(config.limits.clone(), deps.kv.clone(), parts.vault.clone()),
        pool: deps.pool,
        vault: parts.vault,
        passwords: parts.passwords.clone(),
        kv: deps.kv,
        sms: parts.sms,
        wechat: parts.wechat,
        quota: deps.quota,
        config: Arc::new(config),
    };
    app.keys.turn().await.map_err(|error| Error::Keys(error.into()))?;
    let routes = Routes::new(AuthServiceServer::new(grpc::Auth { app: app.clone() }))
        .add_service(UserServiceServer::new(grpc::Users { app: app.clone() }));
    Ok(Service {
        public: routes,
        user_keys: app.keys.verifying(),
        jobs: jobs::all(&app),
        passwords: parts.passwords,
    })
}
