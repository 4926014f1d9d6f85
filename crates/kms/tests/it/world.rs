//! Key files, and handles over them.

use std::path::PathBuf;

use kms::{Change, Kms, LocalKeys, Place, Provider};
use test_support::Scratch;

pub(crate) const HERE: Place<'static> = Place {
    table: "task.provider",
    column: "api_key",
    row: "provider_1",
};

/// A key file of its own.
pub(crate) struct KeyFile {
    pub(crate) path: PathBuf,
    _dir: Scratch,
}

impl KeyFile {
    pub(crate) fn new() -> Self {
        let dir = Scratch::new().unwrap();
        let path = dir.path().join("kms.json");
        kms::create_file(&path).unwrap();
        Self { path, _dir: dir }
    }

    /// A file with this text.
    pub(crate) fn of(text: &str) -> Self {
        let file = Self::new();
        std::fs::write(&file.path, text).unwrap();
        file
    }

    /// Adds a version and makes it the one that seals.
    pub(crate) fn rotate(&self) {
        let change = Change {
            add: true,
            make_current: true,
        };
        kms::change_file(&self.path, change).unwrap();
    }

    pub(crate) fn provider(&self) -> Provider {
        Provider::Local(LocalKeys::read(&self.path).unwrap())
    }

    pub(crate) fn kms(&self) -> Kms {
        Kms::new(self.provider(), Vec::new())
    }
}
