//! Certificates of a platform of its own.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tls::authority::{Issued, Subject};
use tls::{Authority, Config, Mutual};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

pub(crate) fn authority() -> Authority {
    let now = SystemTime::now();
    Authority::new(now - HOUR, now + HOUR).unwrap()
}

/// A certificate of `spiffe://evenkeel/<name>` for `localhost`, which ended or ends at `until`.
pub(crate) fn issue(authority: &Authority, name: &str, until: SystemTime) -> Issued {
    let uri = format!("spiffe://evenkeel/{name}");
    let subject = Subject {
        uri: Some(&uri),
        hosts: &["localhost".to_owned()],
        from: until - 2 * HOUR,
        until,
    };
    authority.issue(&subject).unwrap()
}

pub(crate) fn fresh(authority: &Authority, name: &str) -> Issued {
    issue(authority, name, SystemTime::now() + HOUR)
}

/// The three files of a process.
pub(crate) struct Files {
    dir: TempDir,
}

impl Files {
    pub(crate) fn new(issued: &Issued, trust: &str) -> Self {
        let files = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        files.write(issued);
        fs::write(files.path("trust"), trust).unwrap();
        files
    }

    pub(crate) fn write(&self, issued: &Issued) {
        fs::write(self.path("certificate"), &issued.certificate).unwrap();
        fs::write(self.path("key"), issued.key.as_bytes()).unwrap();
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.path().join(file)
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            certificate: Some(self.path("certificate")),
            key: Some(self.path("key")),
            trust: Some(self.path("trust")),
            reload: Duration::from_millis(100),
        }
    }

    pub(crate) fn open(&self) -> Mutual {
        Mutual::open(&self.config(), "task").unwrap()
    }
}

/// The certificate of a service in use.
pub(crate) fn mutual(authority: &Authority, name: &str) -> Mutual {
    Files::new(&fresh(authority, name), authority.certificate()).open()
}
