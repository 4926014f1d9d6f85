//! Keys of what is kept sealed: in columns of the database, and in files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kms::{ConfigError, FileError, Kms};

use super::settings::Settings;
use crate::exit::Failure;
use crate::identity;

/// Key file that counts if nothing is configured, in the directory of the services' keys.
const FILE: &str = "kms.json";
/// Longest that another process is waited for that makes the same file, and the pause between two looks.
const BUSY: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(20);

/// Opens the keys that are configured, or those of `kms.json` beside the keys of services.
///
/// # Errors
/// There are none, or they cannot be used; the failure says what to do.
pub(crate) fn open(settings: &Settings) -> Result<Kms, Failure> {
    let beside = beside(&settings.identity.keys);
    let mut config = settings.kms.clone();
    if is_default(&config) && beside.exists() {
        config.local.file = Some(beside.clone());
    }
    match Kms::open_config(&config) {
        Ok(Some(kms)) => Ok(kms),
        Ok(None) => Err(Failure::config(
            "there are no keys to seal with: billing keeps recipients of withdrawals encrypted",
        )
        .next(format!(
            "set kms.local.file to a key file, which `evenkeel keys kms-file --out FILE` makes ({} would be found by \
             itself), or KMS_KEY_ID, KMS_SECRET_ID and KMS_SECRET_KEY",
            beside.display()
        ))),
        Err(error) => Err(unusable(&error)),
    }
}

/// Makes `kms.json` beside the keys of services, unless it is there or keys are configured.
///
/// # Errors
/// It cannot be written.
pub(crate) async fn ensure(settings: &Settings) -> Result<(), Failure> {
    if !is_default(&settings.kms) {
        return Ok(());
    }
    let file = beside(&settings.identity.keys);
    let failed = |error: FileError| Failure::unavailable("the key file cannot be made").because(&error);
    let mut looks = tokio::time::interval(LOOK);
    let until = tokio::time::Instant::now() + BUSY;
    loop {
        looks.tick().await;
        match kms::create_file(&file) {
            // Whoever came first has made it for all.
            Ok(_) | Err(FileError::Exists(_)) => return Ok(()),
            Err(FileError::Busy(_)) if tokio::time::Instant::now() < until => {}
            Err(error) => return Err(failed(error)),
        }
    }
}

fn beside(keys: &Path) -> PathBuf {
    identity::absolute(&keys.join(FILE))
}

/// Tells whether nothing says where keys come from.
fn is_default(config: &kms::Config) -> bool {
    config.provider.is_none() && config.local.file.is_none() && config.tencent.key_id.is_empty()
}

fn unusable(error: &ConfigError) -> Failure {
    Failure::config("the keys to seal with cannot be used").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keys_are_made_once_and_found_where_nothing_is_configured() {
        let dir = test_support::Scratch::new().unwrap();
        let mut settings = Settings::default();
        settings.identity.keys = dir.path().to_owned();
        let absent = open(&settings).unwrap_err().to_string();
        assert!(
            absent.contains("evenkeel keys kms-file") && absent.contains("KMS_KEY_ID"),
            "{absent}"
        );
        ensure(&settings).await.unwrap();
        let made = open(&settings).unwrap().current();
        ensure(&settings).await.unwrap();
        assert_eq!(open(&settings).unwrap().current(), made);
        settings.kms.local.file = Some(dir.path().join("elsewhere.json"));
        let unread = open(&settings).unwrap_err().to_string();
        assert!(unread.contains("elsewhere.json"), "{unread}");
    }
}
