//! Where the files are.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::error::Error;

/// Names of the settings, as errors and documents have them.
pub(crate) const CERTIFICATE: &str = "tls.certificate";
pub(crate) const KEY: &str = "tls.key";
pub(crate) const TRUST: &str = "tls.trust";
pub(crate) const RELOAD: &str = "tls.reload";

/// The files of a process. All three make its gRPC mutual TLS; none leaves it plain.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The own certificate in PEM, then those between it and an authority that others trust.
    pub certificate: Option<PathBuf>,
    /// Its private key in PEM (PKCS #8, SEC 1 or PKCS #1).
    pub key: Option<PathBuf>,
    /// Certificates of the authorities whose certificates are believed, in PEM.
    pub trust: Option<PathBuf>,
    /// How often the files are looked at, from 100 ms on. Text such as `10s`.
    #[serde(with = "humantime_serde")]
    pub reload: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            certificate: None,
            key: None,
            trust: None,
            reload: Duration::from_secs(10),
        }
    }
}

/// The three files, when all are named.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) trust: PathBuf,
}

impl Config {
    /// Tells whether files are named.
    #[must_use]
    pub const fn is_set(&self) -> bool {
        self.certificate.is_some() || self.key.is_some() || self.trust.is_some()
    }

    /// Returns the files.
    ///
    /// # Errors
    /// One is missing, or they would be looked at too often.
    pub(crate) fn paths(&self) -> Result<Paths, Error> {
        let named = |path: &Option<PathBuf>, setting| path.clone().ok_or(Error::Missing(setting));
        if self.reload < Duration::from_millis(100) {
            return Err(Error::TooOften);
        }
        Ok(Paths {
            certificate: named(&self.certificate, CERTIFICATE)?,
            key: named(&self.key, KEY)?,
            trust: named(&self.trust, TRUST)?,
        })
    }
}
