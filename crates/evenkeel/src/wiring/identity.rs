//! What a service knows of who calls it, and what it shows when it calls.

use std::convert::Infallible;

use kv::Kv;
use process::{PoolConfig, Supervisor, pool};
use rpc::channel::Dialer;
use tls::Mutual;
use token::{Credentials, Guard, ServiceKeys, UserKeys, Verifier};

use super::settings::{Name, Settings};
use crate::exit::Failure;
use crate::identity;

/// Connections of a service to the Postgres store of keys and values, where administrators' epochs are.
pub(crate) const CONNECTIONS: u32 = 2;
/// Those of the gateway, which has two operations there for each request with a key. Services that share a process have one
/// store each, and this one is then as small as the others.
pub(crate) const GATEWAY_CONNECTIONS: u32 = 16;

/// The keys of a service, read before anything is claimed.
#[derive(Debug)]
pub(crate) struct Keys {
    pub(crate) credentials: Credentials,
    /// The certificate, if gRPC is to be mutual TLS.
    pub(crate) mutual: Option<Mutual>,
    services: ServiceKeys,
}

impl Keys {
    /// Reads the keys of a service from the directory of the settings, and its certificate.
    ///
    /// # Errors
    /// There are no keys, or something cannot be used.
    pub(crate) fn open(name: Name, settings: &Settings) -> Result<Self, Failure> {
        let dir = &settings.identity.keys;
        let services =
            ServiceKeys::open(dir).map_err(|error| identity::no_keys(dir, name.text()).because(&error))?;
        let mutual = identity::mutual(name.text(), &settings.tls)?;
        let dialer = identity::dialer(mutual.clone());
        Ok(Self {
            credentials: identity::open(dir, name.text())?.with_dialer(dialer),
            mutual,
            services,
        })
    }

    /// Follows changes of the certificate's files until the order to end.
    pub(crate) fn watch(&self, supervisor: &Supervisor) {
        if let Some(mutual) = self.mutual.clone() {
            let stop = supervisor.shutdown().token();
            supervisor.spawn("tls", async move {
                mutual.watch(stop).await;
                Ok::<_, Infallible>(())
            });
        }
    }

    /// Makes what stands before the handlers of the service.
    pub(crate) fn guard(&self, users: UserKeys, store: Kv) -> Guard {
        let audience = self.credentials.name().clone();
        let verifier = Verifier::new(audience, self.services.clone(), users);
        Guard::new(verifier).with_epochs(store)
    }
}

/// Users' keys as the auth service publishes them. Fetched when the first user calls; nothing waits for it here.
///
/// # Errors
/// A wrong address.
pub(crate) fn fetched(settings: &Settings, dialer: &Dialer) -> Result<UserKeys, Failure> {
    let auth = dialer
        .lazy(&settings.peers.auth)
        .map_err(|error| Failure::config("peers.auth is wrong").because(&error))?;
    Ok(UserKeys::fetched(auth))
}

/// Opens the store of keys and values, and keeps it clean.
///
/// # Errors
/// Wrong settings, or a database that does not answer.
pub(crate) async fn store(name: Name, settings: &Settings, supervisor: &Supervisor) -> Result<Kv, Failure> {
    let store = open_store(name, settings).await?;
    let sweeper = store.sweeper();
    let stop = supervisor.shutdown().token();
    supervisor.spawn(sweeper.name, async move {
        (sweeper.run)(stop).await;
        Ok::<_, Infallible>(())
    });
    Ok(store)
}

async fn open_store(name: Name, settings: &Settings) -> Result<Kv, Failure> {
    let wrong = |error: &dyn std::error::Error| Failure::config("the kv settings are wrong").because(error);
    let config = PoolConfig {
        min: 0,
        max: if name == Name::Gateway {
            settings.gateway_store_connections()
        } else {
            CONNECTIONS
        },
        ..settings.database.clone()
    };
    let pool = pool::connect("kv", kv::SCHEMA, &config)
        .await
        .map_err(|error| match error {
            pool::Error::Limits { .. } | pool::Error::Schema(_) | pool::Error::Url { .. } => wrong(&error),
            pool::Error::Connect { .. } => {
                Failure::unavailable("the database does not answer").because(&error)
            }
        })?;
    Kv::open(&settings.kv, pool).map_err(|error| wrong(&error))
}
