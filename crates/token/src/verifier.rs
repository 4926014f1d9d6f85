//! From a token to who sent it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use moka::future::Cache;

use crate::caller::{Caller, ServiceName};
use crate::claims::{self, Until};
use crate::directory::ServiceKeys;
use crate::error::Error;
use crate::jws::Unverified;
use crate::users::UserKeys;

/// Verified tokens that are remembered, some 300 bytes each. One core verifies 27,000 signatures a second, and remembers
/// millions.
const REMEMBERED: u64 = 10_000;
/// A token is not remembered for longer than this, whatever its `exp`: so long a key that was withdrawn may still work.
const REMEMBERED_FOR: Duration = Duration::from_secs(15 * 60);

/// Verifies tokens for one service. Clones share what is remembered.
#[derive(Debug, Clone)]
pub struct Verifier {
    audience: ServiceName,
    services: ServiceKeys,
    users: UserKeys,
    /// By SHA-256 of the token, so that the memory holds no credentials.
    remembered: Cache<[u8; 32], Arc<Until<Caller>>>,
}

impl Verifier {
    /// Verifies tokens for the service `audience`.
    #[must_use]
    pub fn new(audience: ServiceName, services: ServiceKeys, users: UserKeys) -> Self {
        let remembered = Cache::builder()
            .max_capacity(REMEMBERED)
            .time_to_live(REMEMBERED_FOR)
            .build();
        Self {
            audience,
            services,
            users,
            remembered,
        }
    }

    /// Returns the service for which it verifies.
    #[must_use]
    pub const fn audience(&self) -> &ServiceName {
        &self.audience
    }

    /// Returns whom a token stands for, which is never nobody. May ask the auth service or the directory for a key, 3 s at
    /// most.
    ///
    /// # Errors
    /// The token is not believed.
    pub async fn verify(&self, token: &str) -> Result<Caller, Error> {
        self.verify_at(token, SystemTime::now()).await
    }

    /// The same at a given time.
    ///
    /// # Errors
    /// The token is not believed.
    pub async fn verify_at(&self, token: &str, now: SystemTime) -> Result<Caller, Error> {
        Ok(self.verify_until(token, now).await?.what.clone())
    }

    /// Returns when a token stops being believed, for what goes on for longer than one call.
    ///
    /// # Errors
    /// The token is not believed now.
    pub async fn valid_until(&self, token: &str, now: SystemTime) -> Result<SystemTime, Error> {
        let until = self.verify_until(token, now).await?;
        Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(until.expires) + claims::LEEWAY)
    }

    async fn verify_until(&self, token: &str, now: SystemTime) -> Result<Arc<Until<Caller>>, Error> {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        if let Some(found) = self.remembered.get(&key).await {
            if claims::has_expired(found.expires, now) {
                self.remembered.invalidate(&key).await;
                return Err(Error::Expired);
            }
            return Ok(found);
        }
        let until = Arc::new(self.examine(token, now).await?);
        self.remembered.insert(key, Arc::clone(&until)).await;
        Ok(until)
    }

    async fn examine(&self, token: &str, now: SystemTime) -> Result<Until<Caller>, Error> {
        let token = Unverified::parse(token)?;
        match token.header.typ.as_str() {
            claims::ACCESS => {
                let key = self.users.find(&token.header.kid).await?;
                let Until { what, expires } = claims::read_access(&token, &key, now)?;
                Ok(Until {
                    what: Caller::User(what),
                    expires,
                })
            }
            claims::SERVICE => {
                let Until { what, expires } = self.examine_service(&token, now).await?;
                Ok(Until {
                    what: Caller::Service { name: what },
                    expires,
                })
            }
            _ => Err(Error::Type),
        }
    }

    async fn examine_service(
        &self,
        token: &Unverified<'_>,
        now: SystemTime,
    ) -> Result<Until<ServiceName>, Error> {
        let name: ServiceName = token.header.kid.parse().map_err(|_| Error::UnknownKey)?;
        let read = || match self.services.known(&name) {
            Some(key) => claims::read_service(token, &key, &name, &self.audience, now),
            None => Err(Error::UnknownKey),
        };
        match read() {
            // The service may be new, or may have been given a new key.
            Err(Error::UnknownKey | Error::Signature) => {
                self.services.refresh().await;
                read()
            }
            result => result,
        }
    }
}
