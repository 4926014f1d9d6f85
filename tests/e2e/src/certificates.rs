//! Certificates of a platform, made by the binary itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use test_support::Scratch;
use tls::{Authority, Config, Mutual};

use crate::platform::binary;

/// The authority of a platform and what it has issued, as `evenkeel keys certificates` writes them.
#[derive(Debug)]
pub struct Certificates {
    scratch: Scratch,
}

impl Certificates {
    /// Makes an authority, and certificates for everybody that end in a year.
    pub fn make() -> Self {
        let certificates = Self {
            scratch: Scratch::new().expect("a directory can be made"),
        };
        certificates.run(&[]);
        certificates
    }

    /// Replaces the certificates of everybody by ones that end in a month.
    pub fn renew(&self) {
        self.run(&["--renew", "--days", "30"]);
    }

    fn run(&self, further: &[&str]) {
        let made = Command::new(binary())
            .args(["keys", "certificates"])
            .arg(self.dir())
            .args(further)
            .output()
            .expect("the binary runs");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// Where the files are.
    pub fn dir(&self) -> &Path {
        self.scratch.path()
    }

    /// A file of somebody: `cert.pem` or `cert-key.pem`.
    pub fn file(&self, name: &str, ending: &str) -> PathBuf {
        self.dir().join(format!("{name}.{ending}"))
    }

    /// Settings of a process of this name.
    pub fn config(&self, name: &str) -> Config {
        Config {
            certificate: Some(self.file(name, "cert.pem")),
            key: Some(self.file(name, "cert-key.pem")),
            trust: Some(self.file("ca", "cert.pem")),
            ..Config::default()
        }
    }

    /// The same in the environment. Files are looked at often: tests are in a hurry.
    pub fn environment(&self, name: &str) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("EVENKEEL_TLS__CERTIFICATE", self.file(name, "cert.pem")),
            ("EVENKEEL_TLS__KEY", self.file(name, "cert-key.pem")),
            ("EVENKEEL_TLS__TRUST", self.file("ca", "cert.pem")),
            ("EVENKEEL_TLS__RELOAD", "200ms".into()),
        ]
    }

    /// The certificate of a name, in use.
    pub fn mutual(&self, name: &str) -> Mutual {
        Mutual::open(&self.config(name), name).expect("it was made a moment ago")
    }

    /// Who issued them, to issue others.
    pub fn authority(&self) -> Authority {
        let read = |ending| std::fs::read_to_string(self.file("ca", ending)).expect("it was made");
        Authority::from_pem(read("cert.pem"), &read("cert-key.pem")).expect("it can be used")
    }
}
