//! What is wrong with the files.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use crate::config::RELOAD;
use crate::leaf::LeafError;

/// The files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Others are named, but not this one.
    #[error("{0} is missing: tls.certificate, tls.key and tls.trust go together")]
    Missing(&'static str),
    /// The pause between looks is too short.
    #[error("{RELOAD} is less than 100ms")]
    TooOften,
    /// A file is not what it must be.
    #[error("{setting}: {} {problem}", path.display())]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        problem: Problem,
    },
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[source] io::Error),
    /// It is larger than any such file.
    #[error("has more than {0} bytes")]
    TooLarge(u64),
    /// It is not PEM, or holds nothing of the kind.
    #[error("holds no {0} in PEM")]
    Empty(&'static str),
    /// There are more certificates than a chain or a bundle has.
    #[error("holds more than {0} certificates")]
    TooMany(usize),
    /// The certificate itself is not usable.
    #[error("cannot be used: {0}")]
    Leaf(#[source] LeafError),
    /// Not valid yet.
    #[error("is not valid before {}", when(*.0))]
    NotYetValid(i64),
    /// Not valid any more.
    #[error("has expired: {}", when(*.0))]
    Expired(i64),
    /// No authority of the trust bundle stands behind it, or its chain is broken.
    #[error("is not believed by those who have the same trust: {0}")]
    Untrusted(#[source] rustls::Error),
    /// The private key is of another certificate, or of no use.
    #[error("does not fit the certificate: {0}")]
    Key(#[source] rustls::Error),
    /// A certificate in the bundle cannot be an authority.
    #[error("holds a certificate that cannot be an authority")]
    NoAuthority,
    /// The files together make no settings of TLS.
    #[error("cannot be used: {0}")]
    Unusable(String),
    /// A renewal is of somebody else.
    #[error("names {new}, but this process began as {old}")]
    Renamed {
        /// Whom it names.
        new: String,
        /// Whom the first one named.
        old: String,
    },
}

/// First second after the year 9999, the last that the text of a time can name.
const YEAR_10000: u64 = 253_402_300_800;

/// Unix seconds as people read them.
fn when(seconds: i64) -> String {
    match u64::try_from(seconds) {
        Ok(seconds) if seconds < YEAR_10000 => {
            humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
        }
        Ok(_) | Err(_) => format!("second {seconds} of Unix time"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_readable_whatever_a_certificate_says() {
        assert_eq!(when(0), "1970-01-01T00:00:00Z");
        assert_eq!(when(253_402_300_799), "9999-12-31T23:59:59Z");
        assert_eq!(when(-1), "second -1 of Unix time");
        assert_eq!(when(i64::MAX), format!("second {} of Unix time", i64::MAX));
    }
}
