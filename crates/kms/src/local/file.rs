//! The key file: JSON, for its owner only.
//!
//! ```json
//! {"name": "3f9c2a71d5e04b86", "current": 2, "keys": [{"version": 1, "key": ".."}, {"version": 2, "key": ".."}]}
//! ```
//!
//! `current` seals, all open. The name tells files apart, so that version 1 of one is never taken for that of another.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Keys;
use crate::data_key::KEY;
use crate::key_id::is_name;

/// Largest key file, in bytes: about 700 versions.
const MAX_FILE_BYTES: usize = 64 * 1024;
/// Rights of whoever is not the owner.
const OTHERS: u32 = 0o077;

/// Why a key file was not read or written. Says nothing of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("the key file {} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Others than its owner may read or write it.
    #[error("the key file {0} is open to others than its owner (mode {mode:04o}): chmod 600 {0}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It is no key file.
    #[error("{} is no key file: {what}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// There is a file of this name. Nothing is ever overwritten: it may be the only copy of its keys.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// Somebody else is changing the file, or was interrupted.
    #[error("{} is there: the key file is being changed, or a change was interrupted; if nobody is at it, remove it", .0.display())]
    Busy(PathBuf),
    /// It cannot be written.
    #[error("the key file {} cannot be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The system has no randomness.
    #[error("no randomness")]
    Random,
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    pub(super) name: String,
    pub(super) current: u32,
    pub(super) keys: Vec<KeyText>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyText {
    pub(super) version: u32,
    pub(super) key: Zeroizing<String>,
}

/// Reads a key file.
pub(super) fn read(path: &Path) -> Result<Keys, FileError> {
    parse(&read_text(path)?).map_err(|what| FileError::Content {
        path: path.to_owned(),
        what,
    })
}

/// Reads the text of a key file and checks its rights.
pub(super) fn read_text(path: &Path) -> Result<Text, FileError> {
    let failed = |source| FileError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o7777;
    if mode & OTHERS != 0 {
        return Err(FileError::Open {
            path: path.to_owned(),
            mode,
        });
    }
    let wrong = |what| FileError::Content {
        path: path.to_owned(),
        what,
    };
    // Room for all of it from the start: growing would leave copies of keys behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES + 1));
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX) + 1;
    file.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_FILE_BYTES {
        return Err(wrong(format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    // Only where the mistake is: what the parser says of it quotes the file.
    serde_json::from_slice(&bytes).map_err(|error| {
        wrong(format!(
            "line {}, column {} is not as it must be",
            error.line(),
            error.column()
        ))
    })
}

/// Takes a text for keys; the error says what is wrong with it.
pub(super) fn parse(text: &Text) -> Result<Keys, String> {
    if !is_name(text.name.as_bytes()) {
        return Err("name is not 1 to 64 printable ASCII characters".to_owned());
    }
    let mut versions = BTreeMap::new();
    for KeyText { version, key } in &text.keys {
        let wrong = || format!("the key of version {version} is not {KEY} bytes of base64");
        let bytes = Zeroizing::new(STANDARD.decode(key.as_bytes()).map_err(|_| wrong())?);
        let key: &[u8; KEY] = bytes.as_slice().try_into().map_err(|_| wrong())?;
        if versions.insert(*version, Zeroizing::new(*key)).is_some() {
            return Err(format!("version {version} comes twice"));
        }
    }
    if !versions.contains_key(&text.current) {
        return Err(format!("there is no version {}, the current one", text.current));
    }
    Ok(Keys {
        name: text.name.clone(),
        current: text.current,
        versions,
    })
}
