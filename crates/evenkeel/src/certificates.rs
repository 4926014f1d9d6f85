//! Certificates for development: an authority in a directory, and what it issues.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tls::Authority;
use tls::authority::Subject;
use token::{ServiceName, certificate_uri};
use uuid::Uuid;

use crate::exit::{Code, Failure};
use crate::identity;

/// Endings of the files; those of the keys that sign tokens may be in the same directory.
const CERTIFICATE: &str = ".cert.pem";
const KEY: &str = ".cert-key.pem";
/// Environment variables that name the files; commands that call services read them, so that a shell may have the operator's.
pub(crate) const VARIABLES: [&str; 3] = [
    "EVENKEEL_TLS__CERTIFICATE",
    "EVENKEEL_TLS__KEY",
    "EVENKEEL_TLS__TRUST",
];
/// Name of the authority's files, which no service can have.
const AUTHORITY: &str = "ca";
/// Clocks of other machines may be behind.
const BACKDATED: Duration = Duration::from_secs(5 * 60);
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Life of the authority.
const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What is to be issued.
#[derive(Debug, Clone)]
pub(crate) struct Order<'a> {
    /// Further names and addresses under which the services are reached.
    pub(crate) hosts: &'a [String],
    /// How long the certificates are valid.
    pub(crate) days: u16,
    /// Whether those that are there are replaced, with their keys.
    pub(crate) renew: bool,
}

/// What was done about one certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// There is a new one.
    Made,
    /// It was there, and was left alone.
    Kept,
}

/// Issues certificates in `dir`, which is made if it is not there, as is the authority. Only the owner can read the private
/// keys.
///
/// # Errors
/// A name is none, a file cannot be read or written, or the authority has no key.
pub(crate) fn issue(dir: &Path, names: &[String], order: &Order<'_>) -> Result<Vec<Done>, Failure> {
    let names = names.iter().map(|name| {
        let parsed = identity::name(name)?;
        if parsed.as_str() == AUTHORITY {
            return Err(Failure::new(
                Code::Usage,
                format!("{AUTHORITY} is the authority's name"),
            ));
        }
        Ok(parsed)
    });
    let names: Vec<ServiceName> = names.collect::<Result<_, _>>()?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(dir)
        .map_err(|error| failed(dir, &error))?;
    let now = SystemTime::now();
    let authority = authority(dir, now)?;
    names
        .iter()
        .map(|name| issue_one(dir, name, &authority, order, now))
        .collect()
}

/// Settings of a process that uses what [`issue`] has made.
pub(crate) fn config(dir: &Path, name: &str) -> tls::Config {
    tls::Config {
        certificate: Some(file(dir, name, CERTIFICATE)),
        key: Some(file(dir, name, KEY)),
        trust: Some(file(dir, AUTHORITY, CERTIFICATE)),
        ..tls::Config::default()
    }
}

/// The same as environment variables.
pub(crate) fn variables(dir: &Path, name: &str) -> [(&'static str, PathBuf); 3] {
    let [certificate, key, trust] = VARIABLES;
    [
        (certificate, file(dir, name, CERTIFICATE)),
        (key, file(dir, name, KEY)),
        (trust, file(dir, AUTHORITY, CERTIFICATE)),
    ]
}

fn file(dir: &Path, name: &str, ending: &str) -> PathBuf {
    dir.join(format!("{name}{ending}"))
}

fn failed(path: &Path, error: &dyn std::error::Error) -> Failure {
    Failure::unavailable(format!("{} cannot be used", path.display())).because(error)
}

/// Reads the authority, or makes it.
fn authority(dir: &Path, now: SystemTime) -> Result<Authority, Failure> {
    let (certificate, key) = (file(dir, AUTHORITY, CERTIFICATE), file(dir, AUTHORITY, KEY));
    if !certificate.exists() {
        let made =
            Authority::new(now - BACKDATED, now + AUTHORITY_LIFE).map_err(|error| failed(dir, &error))?;
        // The key first: a certificate without one would be of no use.
        write(&key, &made.key(), 0o600)?;
        write(&certificate, made.certificate(), 0o644)?;
    }
    let text = fs::read_to_string(&certificate).map_err(|error| failed(&certificate, &error))?;
    let secret = fs::read_to_string(&key).map_err(|error| failed(&key, &error))?;
    Authority::from_pem(text, &secret).map_err(|error| failed(&key, &error))
}

fn issue_one(
    dir: &Path,
    name: &ServiceName,
    authority: &Authority,
    order: &Order<'_>,
    now: SystemTime,
) -> Result<Done, Failure> {
    let (certificate, key) = (
        file(dir, name.as_str(), CERTIFICATE),
        file(dir, name.as_str(), KEY),
    );
    if certificate.exists() && key.exists() && !order.renew {
        return Ok(Done::Kept);
    }
    let mut hosts = vec![name.to_string()];
    hosts.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    hosts.extend_from_slice(order.hosts);
    let issued = authority
        .issue(&Subject {
            uri: Some(&certificate_uri(name)),
            hosts: &hosts,
            from: now - BACKDATED,
            until: now + DAY * u32::from(order.days),
        })
        .map_err(|error| failed(&certificate, &error))?;
    write(&key, &issued.key, 0o600)?;
    write(&certificate, &issued.certificate, 0o644)?;
    Ok(Done::Made)
}

/// Puts a whole file in the place of whatever is there, so that nobody reads half of one.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failure> {
    let draft = path.with_extension(Uuid::now_v7().simple().to_string());
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    written().map_err(|error| failed(path, &error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const ONCE: Order<'_> = Order {
        hosts: &[],
        days: 30,
        renew: false,
    };

    fn issue(dir: &Path, names: &[&str], order: &Order<'_>) -> Result<Vec<Done>, Failure> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        super::issue(dir, &names, order)
    }

    #[test]
    fn what_is_issued_can_be_used_and_names_the_service() {
        let scratch = test_support::Scratch::new().unwrap();
        let dir = scratch.path().join("tls");
        let hosts = ["quota.example".to_owned(), "10.0.0.7".to_owned()];
        let order = Order {
            hosts: &hosts,
            ..ONCE
        };
        assert_eq!(issue(&dir, &["quota"], &order).unwrap(), [Done::Made]);
        let mutual = identity::mutual("quota", &config(&dir, "quota"))
            .unwrap()
            .unwrap();
        assert_eq!(mutual.leaf().hosts(), ["quota", "localhost", "quota.example"]);
        assert!(identity::mutual("task", &config(&dir, "quota")).is_err());
        for (file, mode) in [
            ("ca.cert-key.pem", 0o600),
            ("quota.cert-key.pem", 0o600),
            ("ca.cert.pem", 0o644),
            ("quota.cert.pem", 0o644),
        ] {
            let found = fs::metadata(dir.join(file)).unwrap().permissions().mode();
            assert_eq!(found & 0o777, mode, "{file}");
        }
    }

    #[test]
    fn what_is_there_is_replaced_only_when_it_is_asked_for() {
        let scratch = test_support::Scratch::new().unwrap();
        let dir = scratch.path();
        let read = |file: &str| fs::read_to_string(dir.join(file)).unwrap();
        issue(dir, &["saga"], &ONCE).unwrap();
        let (authority, first) = (read("ca.cert.pem"), read("saga.cert.pem"));
        assert_eq!(
            issue(dir, &["saga", "task"], &ONCE).unwrap(),
            [Done::Kept, Done::Made]
        );
        assert_eq!(read("saga.cert.pem"), first);
        let again = Order { renew: true, ..ONCE };
        assert_eq!(issue(dir, &["saga"], &again).unwrap(), [Done::Made]);
        assert_ne!(read("saga.cert.pem"), first);
        assert_eq!(read("ca.cert.pem"), authority);
        identity::mutual("saga", &config(dir, "saga")).unwrap();
        assert_eq!(fs::read_dir(dir).unwrap().count(), 6, "a draft was left");
    }

    #[test]
    fn wrong_names_and_an_authority_without_its_key_are_refused() {
        let scratch = test_support::Scratch::new().unwrap();
        let dir = scratch.path();
        for name in ["ca", "../saga", ""] {
            assert!(issue(dir, &[name], &ONCE).is_err(), "{name}");
        }
        issue(dir, &["saga"], &ONCE).unwrap();
        fs::remove_file(dir.join("ca.cert-key.pem")).unwrap();
        assert!(issue(dir, &["task"], &ONCE).is_err());
    }
}
