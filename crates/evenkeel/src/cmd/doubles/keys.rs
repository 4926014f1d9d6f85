//! Where a double keeps who it is.

use std::path::{Path, PathBuf};

use crate::exit::Failure;
use crate::identity;

/// Directory of what several doubles keep.
#[derive(Debug, clap::Args)]
pub(super) struct KeysDir {
    /// Directory of keys; made if it is not there. What it has is used again, so that a restarted double is the same one
    ///
    /// Several doubles can share it: the files of each bear its name. They are for their owner only. NAME.env sets the
    /// variables of a service that is to use the double.
    #[arg(long, default_value = ".evenkeel/doubles", value_name = "DIR")]
    keys_dir: PathBuf,
}

impl KeysDir {
    /// Returns the directory, absolute: services are started elsewhere.
    pub(super) fn path(&self) -> PathBuf {
        identity::absolute(&self.keys_dir)
    }
}

/// Reads keys or makes some, which takes a moment.
///
/// # Errors
/// A file cannot be read, written or understood; starting again does not help.
pub(super) async fn open<T: Send + 'static>(
    dir: &Path,
    read: impl FnOnce(&Path) -> std::io::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let owned = dir.to_path_buf();
    let opened = tokio::task::spawn_blocking(move || read(&owned)).await;
    opened
        .map_err(std::io::Error::other)
        .and_then(|read| read)
        .map_err(|error| unusable(dir, &error))
}

pub(super) fn unusable(dir: &Path, error: &std::io::Error) -> Failure {
    Failure::config(format!("the keys in {} cannot be used", dir.display()))
        .because(error)
        .next("choose another directory with --keys-dir, or remove the file to get new keys")
}
