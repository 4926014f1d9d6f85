//! Files that let a double be the same one after a restart: for their owner only, written whole or not at all.

use std::fs;
use std::io::{Error, ErrorKind, Result, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads what `path` holds, or makes it and writes it there. Whoever is second reads what the first has written.
///
/// # Errors
/// The file cannot be read, written or understood, or nothing can be made; the text names the file. What is there is
/// never overwritten.
pub(crate) fn or_make<T>(path: &Path, make: impl FnOnce() -> Result<T>) -> Result<T>
where
    T: Serialize + DeserializeOwned,
{
    match fs::metadata(path) {
        Ok(_) => return read(path),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(about(path, &error)),
    }
    let text = serde_json::to_vec_pretty(&make()?)?;
    let draft = draft(path, &text)?;
    // A name is given only if there is none yet: two that start at once end up with the same keys.
    let linked = fs::hard_link(&draft, path);
    let removed = fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(about(path, &error)),
        Ok(()) | Err(_) => {}
    }
    removed.map_err(|error| about(&draft, &error))?;
    read(path)
}

/// Writes a file anew, and its directory if need be, for their owner only; whoever reads it finds the old text or the new one.
///
/// # Errors
/// The file cannot be written; the text names it.
pub fn write(path: &Path, text: &[u8]) -> Result<()> {
    let draft = draft(path, text)?;
    fs::rename(&draft, path).map_err(|error| about(path, &error))
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let too_large = fs::metadata(path).is_ok_and(|found| found.len() > MAX_BYTES);
    if too_large {
        return Err(about(path, &Error::other("larger than 1 MiB")));
    }
    let text = fs::read(path).map_err(|error| about(path, &error))?;
    serde_json::from_slice(&text).map_err(|error| about(path, &Error::new(ErrorKind::InvalidData, error)))
}

/// Writes a file beside `path`, for its owner only, and syncs it.
fn draft(path: &Path, text: &[u8]) -> Result<PathBuf> {
    if let Some(dir) = path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|error| about(dir, &error))?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", crate::random_text()));
    let draft = PathBuf::from(name);
    let write = || {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text)?;
        file.sync_all()
    };
    match write() {
        Ok(()) => Ok(draft),
        Err(error) => {
            // Half a draft is of no use to anybody.
            let _ = fs::remove_file(&draft);
            Err(about(path, &error))
        }
    }
}

/// Says which file an error is about.
pub(crate) fn about(path: &Path, error: &Error) -> Error {
    Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_there_is_read_and_what_cannot_be_read_is_not_overwritten() {
        let dir = test_support::Scratch::new().unwrap();
        let path = dir.path().join("keys/one.json");
        let make = |text: &str| {
            let text = text.to_owned();
            move || Ok(text)
        };
        assert_eq!(or_make(&path, make("a")).unwrap(), "a");
        assert_eq!(or_make(&path, make("b")).unwrap(), "a");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let dir_mode = fs::metadata(path.parent().unwrap()).unwrap().permissions();
        assert_eq!(dir_mode.mode() & 0o777, 0o700);
        fs::write(&path, "{").unwrap();
        let error = or_make(&path, make("c")).unwrap_err();
        assert!(error.to_string().contains("one.json"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{");
        write(&path, b"\"d\"").unwrap();
        assert_eq!(or_make(&path, make("e")).unwrap(), "d");
        // No draft is left behind.
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
