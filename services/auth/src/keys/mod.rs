//! The keys that access tokens are signed with: two live ones, one that signs and one that everybody knows before it does.
//!
//! The database holds them, private parts encrypted. Any number of replicas look every now and then whether one is due
//! ([`plan`](crate::domain::plan)); one of them rotates, under a lock. A replica signs with what it has read within the last
//! [`MAX_AGE`] only, so a key has truly stopped signing that long after it has retired.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use process::PoolGauge;
use sqlx::PgConnection;
use token::{Jwk, KeySet, SigningKey, UserKeys};
use tokio::sync::Mutex;

use crate::domain::{KeyState, Step, Times, plan};
use crate::sealed::{Place, Vault};
use crate::store::signing_key::{self, Published};

/// How long a replica may go on with what it has read.
pub(crate) const MAX_AGE: Duration = Duration::from_secs(60);

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A key could not be made or read.
    #[error("a signing key cannot be made or read")]
    Key(#[from] token::KeyError),
    /// The keys together are not what verifiers accept.
    #[error("the set of signing keys is damaged")]
    Set(#[from] token::JwksError),
    /// A private key cannot be decrypted, or not be encrypted.
    #[error("the private part of a signing key cannot be read or written")]
    Sealed(#[from] crate::sealed::Error),
    /// The active key is another one than its row says.
    #[error("the private part of the signing key {0} belongs to another key")]
    Mismatch(String),
    /// There is none although one was just made.
    #[error("there is no active signing key")]
    NoneActive,
    /// The database did not do as asked.
    #[error("the signing keys cannot be read or written")]
    Database(#[from] sqlx::Error),
}

/// The keys of this replica. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pool: PoolGauge,
    vault: Vault,
    times: Times,
    current: ArcSwapOption<Current>,
    /// What this process itself verifies with.
    verifying: Arc<ArcSwap<KeySet>>,
    /// One reads at a time; the others wait and take what it has read.
    reading: Mutex<()>,
}

/// The keys as they were at a moment.
#[derive(Debug)]
struct Current {
    signing: SigningKey,
    jwks: Vec<Jwk>,
    read_at: Instant,
}

impl Current {
    fn is_fresh(&self) -> bool {
        self.read_at.elapsed() < MAX_AGE
    }
}

impl Keys {
    /// Reads nothing yet.
    pub(crate) fn new(pool: PoolGauge, vault: Vault, times: Times) -> Self {
        Self {
            shared: Arc::new(Shared {
                pool,
                vault,
                times,
                current: ArcSwapOption::empty(),
                verifying: Arc::default(),
                reading: Mutex::default(),
            }),
        }
    }

    /// Returns the key that signs.
    pub(crate) async fn signing(&self) -> Result<SigningKey, Error> {
        Ok(self.fresh().await?.signing.clone())
    }

    /// Returns the public keys, the one that signs and the next one among them.
    pub(crate) async fn jwks(&self) -> Result<Vec<Jwk>, Error> {
        Ok(self.fresh().await?.jwks.clone())
    }

    /// Returns what this process verifies users' tokens with. Empty until the keys were read first.
    pub(crate) fn verifying(&self) -> UserKeys {
        UserKeys::held(Arc::clone(&self.shared.verifying))
    }

    /// Rotates if that is due, and reads what there is.
    pub(crate) async fn turn(&self) -> Result<(), Error> {
        let _reading = self.shared.reading.lock().await;
        self.read().await.map(drop)
    }

    async fn fresh(&self) -> Result<Arc<Current>, Error> {
        let known = || {
            self.shared
                .current
                .load_full()
                .filter(|current| current.is_fresh())
        };
        if let Some(current) = known() {
            return Ok(current);
        }
        let _reading = self.shared.reading.lock().await;
        match known() {
            Some(current) => Ok(current),
            None => self.read().await,
        }
    }

    async fn read(&self) -> Result<Arc<Current>, Error> {
        // Taken before the rows are read: the age must not be understated.
        let read_at = Instant::now();
        let shared = &self.shared;
        let mut published = signing_key::list(&shared.pool).await?;
        let now = signing_key::now(&shared.pool).await?;
        let stored: Vec<_> = published.iter().map(|key| key.stored.clone()).collect();
        if !plan(&stored, shared.times, now).is_empty() {
            self.rotate().await?;
            published = signing_key::list(&shared.pool).await?;
        }
        let jwks: Vec<Jwk> = published.iter().map(jwk).collect();
        let current = Arc::new(Current {
            signing: self.open(&published)?,
            jwks: jwks.clone(),
            read_at,
        });
        shared.verifying.store(Arc::new(KeySet::new(jwks)?));
        shared.current.store(Some(Arc::clone(&current)));
        Ok(current)
    }

    /// Does what is due, unless another replica has done it meanwhile.
    async fn rotate(&self) -> Result<(), Error> {
        let shared = &self.shared;
        // The rows must be seen as the last holder of the lock has left them.
        let mut tx = shared
            .pool
            .begin_with("begin isolation level read committed")
            .await?;
        let now = signing_key::lock(&mut tx).await?;
        let stored: Vec<_> = signing_key::list(&mut *tx)
            .await?
            .into_iter()
            .map(|key| key.stored)
            .collect();
        for step in plan(&stored, shared.times, now) {
            self.carry_out(&mut tx, &step).await?;
            tracing::info!(?step, "signing keys");
        }
        tx.commit().await?;
        Ok(())
    }

    async fn carry_out(&self, conn: &mut PgConnection, step: &Step) -> Result<(), Error> {
        match step {
            Step::Forget(kid) => signing_key::forget(conn, kid).await?,
            Step::Retire(kid) => signing_key::retire(conn, kid).await?,
            Step::Activate(kid) => signing_key::activate(conn, kid).await?,
            Step::Make(state) => {
                let key = SigningKey::generate()?;
                let sealed = self
                    .shared
                    .vault
                    .seal(place(key.kid()), key.to_pem()?.as_bytes())?;
                signing_key::insert(conn, key.kid(), &key.jwk().x, &sealed, *state).await?;
            }
        }
        Ok(())
    }

    fn open(&self, published: &[Published]) -> Result<SigningKey, Error> {
        let (kid, sealed) = published
            .iter()
            .find(|key| key.stored.state == KeyState::Active)
            .and_then(|key| Some((&key.stored.kid, key.private_sealed.as_deref()?)))
            .ok_or(Error::NoneActive)?;
        let mismatch = || Error::Mismatch(kid.clone());
        let pem = self.shared.vault.open(place(kid), sealed)?;
        let key = SigningKey::from_pem(std::str::from_utf8(&pem).map_err(|_| mismatch())?)?;
        if key.kid() == kid {
            Ok(key)
        } else {
            Err(mismatch())
        }
    }
}

fn place(kid: &str) -> Place<'_> {
    Place {
        table: "auth.signing_key",
        column: "private_sealed",
        row: kid,
    }
}

fn jwk(key: &Published) -> Jwk {
    Jwk {
        kty: "OKP".to_owned(),
        crv: "Ed25519".to_owned(),
        x: key.public_x.clone(),
        kid: key.stored.kid.clone(),
        usage: "sig".to_owned(),
        alg: "EdDSA".to_owned(),
    }
}
