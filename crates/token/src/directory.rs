//! The keys of services in a directory: `<name>.key.pem`, which only that service has, and `<name>.pub.pem`, which all have.
//!
//! The directory says who is a service: whoever can write to it, or holds a private key whose other half is in it, is
//! believed.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::caller::ServiceName;
use crate::keys::{KeyError, SigningKey, VerifyingKey};

/// Ending of the files that verify.
const PUBLIC: &str = ".pub.pem";
/// Ending of the files that sign.
const PRIVATE: &str = ".key.pem";
/// Most services in a directory.
const MAX_SERVICES: usize = 256;
/// Longest file, in bytes; a key has some 120.
const MAX_FILE_BYTES: u64 = 4096;
/// The directory is read at most this often, however many unknown keys come.
const REREAD: Duration = Duration::from_secs(5);

/// A file or directory of keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It cannot be read or written.
    #[error("{} cannot be used", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file does not hold a key.
    #[error("{} does not hold a key", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: KeyError,
    },
    /// There are more keys than are read.
    #[error("{} has more than {MAX_SERVICES} keys", path.display())]
    TooMany {
        /// The directory.
        path: PathBuf,
    },
}

/// What [`create`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Created {
    /// Both halves are new.
    New,
    /// The private half was there, the public one is written now.
    Completed,
    /// Both were there; nothing was written.
    Kept,
}

/// Makes the keys of a service in `dir`, which is made too; what is there is never overwritten. Only the owner can read the
/// private half.
///
/// # Errors
/// The directory cannot be written, or a private key that is there cannot be read.
pub fn create(dir: &Path, name: &ServiceName) -> Result<Created, DirectoryError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| DirectoryError::Io { path, source }
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(dir)
        .map_err(failed(dir))?;
    let (private, public) = (file(dir, name, PRIVATE), file(dir, name, PUBLIC));
    let key = SigningKey::generate().map_err(|source| DirectoryError::Key {
        path: private.clone(),
        source,
    })?;
    let text = key.to_pem().map_err(|source| DirectoryError::Key {
        path: private.clone(),
        source,
    })?;
    let is_new = write_new(&private, &text, 0o600).map_err(failed(&private))?;
    // The one that is there, if there was one: a crash may have left it without its other half.
    let key = read_private(dir, name)?;
    let is_public_new = write_new(&public, &key.verifying().to_pem(), 0o644).map_err(failed(&public))?;
    Ok(match (is_new, is_public_new) {
        (true, _) => Created::New,
        (false, true) => Created::Completed,
        (false, false) => Created::Kept,
    })
}

/// Writes a file that does not exist yet; returns false if it does.
fn write_new(path: &Path, text: &str, mode: u32) -> io::Result<bool> {
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => return Err(error),
    };
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(true)
}

/// Reads the private key of a service, under its name.
///
/// # Errors
/// The file is absent, unreadable, or not an Ed25519 key.
pub(crate) fn read_private(dir: &Path, name: &ServiceName) -> Result<SigningKey, DirectoryError> {
    let path = file(dir, name, PRIVATE);
    let text = Zeroizing::new(read(&path)?);
    let mode = fs::metadata(&path).map_or(0, |m| m.permissions().mode());
    if mode & 0o004 != 0 {
        tracing::warn!(path = %path.display(), "this private key can be read by everybody on this machine");
    }
    let key = SigningKey::from_pem(&text).map_err(|source| DirectoryError::Key { path, source })?;
    Ok(key.with_kid(name.as_str()))
}

fn file(dir: &Path, name: &ServiceName, ending: &str) -> PathBuf {
    dir.join(format!("{name}{ending}"))
}

fn read(path: &Path) -> Result<String, DirectoryError> {
    let failed = |source| DirectoryError::Io {
        path: path.to_owned(),
        source,
    };
    if fs::metadata(path).map_err(failed)?.len() > MAX_FILE_BYTES {
        return Err(failed(io::Error::other("the file is larger than a key can be")));
    }
    fs::read_to_string(path).map_err(failed)
}

fn read_public(dir: &Path) -> Result<BTreeMap<ServiceName, VerifyingKey>, DirectoryError> {
    let failed = |source| DirectoryError::Io {
        path: dir.to_owned(),
        source,
    };
    let mut keys = BTreeMap::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let file_name = entry.file_name();
        let name = file_name.to_str().and_then(|name| name.strip_suffix(PUBLIC));
        let Some(Ok(name)) = name.map(str::parse::<ServiceName>) else {
            continue;
        };
        let path = entry.path();
        let key =
            VerifyingKey::from_pem(&read(&path)?).map_err(|source| DirectoryError::Key { path, source })?;
        keys.insert(name, key);
        if keys.len() > MAX_SERVICES {
            return Err(DirectoryError::TooMany { path: dir.to_owned() });
        }
    }
    Ok(keys)
}

/// The public keys of all services. Clones share what was read.
#[derive(Debug, Clone)]
pub struct ServiceKeys(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    keys: ArcSwap<BTreeMap<ServiceName, VerifyingKey>>,
    /// When the directory was read last.
    read_at: Mutex<Instant>,
}

impl ServiceKeys {
    /// Reads a directory. It is read again when a token comes whose key is unknown or does not fit, at most every 5 s; so a
    /// new service, and a new key of an old one, are known without a restart. A directory that has become unreadable leaves
    /// the keys as they are.
    ///
    /// # Errors
    /// The directory or one of its keys cannot be read.
    pub fn open(dir: &Path) -> Result<Self, DirectoryError> {
        Ok(Self(Arc::new(Shared {
            dir: dir.to_owned(),
            keys: ArcSwap::from_pointee(read_public(dir)?),
            read_at: Mutex::new(Instant::now()),
        })))
    }

    /// Returns the key of a service as it was read last.
    pub(crate) fn known(&self, name: &ServiceName) -> Option<VerifyingKey> {
        self.0.keys.load().get(name).cloned()
    }

    /// Reads the directory again, unless that was done less than 5 s ago.
    pub(crate) async fn refresh(&self) {
        let mut read_at = self.0.read_at.lock().await;
        if read_at.elapsed() < REREAD {
            return;
        }
        *read_at = Instant::now();
        let dir = self.0.dir.clone();
        match tokio::task::spawn_blocking(move || read_public(&dir)).await {
            Ok(Ok(keys)) => self.0.keys.store(Arc::new(keys)),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the keys of services cannot be read again; the old ones stay");
            }
            // Cancelled: the process ends.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ServiceName {
        text.parse().unwrap()
    }

    #[test]
    fn keys_are_made_once_and_for_their_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let keys = dir.path().join("a/keys");
        assert_eq!(create(&keys, &name("task")).unwrap(), Created::New);
        let first = fs::read_to_string(keys.join("task.key.pem")).unwrap();
        assert_eq!(create(&keys, &name("task")).unwrap(), Created::Kept);
        assert_eq!(fs::read_to_string(keys.join("task.key.pem")).unwrap(), first);
        let mode = fs::metadata(keys.join("task.key.pem"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::remove_file(keys.join("task.pub.pem")).unwrap();
        assert_eq!(create(&keys, &name("task")).unwrap(), Created::Completed);
        let private = read_private(&keys, &name("task")).unwrap();
        let public = ServiceKeys::open(&keys).unwrap().known(&name("task")).unwrap();
        assert_eq!((private.verifying(), private.kid()), (public, "task"));
    }

    #[test]
    fn a_damaged_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("task.pub.pem"), "nonsense").unwrap();
        fs::write(dir.path().join("saga.key.pem"), "nonsense").unwrap();
        fs::write(dir.path().join("README"), "not a key, and not read").unwrap();
        let error = ServiceKeys::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains("task.pub.pem"), "{error}");
        let error = read_private(dir.path(), &name("saga")).unwrap_err().to_string();
        assert!(error.contains("saga.key.pem"), "{error}");
        let error = read_private(dir.path(), &name("quota")).unwrap_err().to_string();
        assert!(error.contains("quota.key.pem"), "{error}");
    }

    #[test]
    fn a_huge_file_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("task.pub.pem"), "x".repeat(5000)).unwrap();
        assert!(matches!(
            ServiceKeys::open(dir.path()),
            Err(DirectoryError::Io { .. })
        ));
    }
}
