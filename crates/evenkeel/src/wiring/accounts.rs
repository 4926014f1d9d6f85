//! What the auth service needs in development and is not configured: keys for what it encrypts, and providers.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use auth::sealed;
use doubles::sms::SmsProvider;
use doubles::wechat::WechatLogin;
use serde_json::json;
use uuid::Uuid;

use super::settings::{Settings, local, port};
use crate::exit::Failure;

/// Distances of the providers' ports from the first port.
const SMS_PORT_OFFSET: u16 = 491;
const WECHAT_PORT_OFFSET: u16 = 492;

/// Providers that run here in place of real ones. They stop when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Providers {
    pub(crate) sms: Option<SmsProvider>,
    pub(crate) wechat: Option<WechatLogin>,
}

/// Fills in what is not configured: keys from beside the keys of services, made there at the first start, and doubles of
/// the providers.
///
/// # Errors
/// A file cannot be read or written, or a port is taken.
pub(crate) async fn complete(settings: &mut Settings, base: u16) -> Result<Providers, Failure> {
    if settings.auth.vault.keys.is_empty() {
        settings.auth.vault = vault(&settings.identity.keys.join("vault.json"))?;
    }
    let mut providers = Providers::default();
    if settings.auth.sms.secret_id.is_empty() {
        let address = local(port(base, SMS_PORT_OFFSET));
        let sms = doubles::sms::start(address)
            .await
            .map_err(|error| taken("SMS", &error))?;
        let account = sms.account();
        settings.auth.sms = auth::sms::Config {
            secret_id: account.secret_id,
            secret_key: account.secret_key.into(),
            app_id: "1400000000".to_owned(),
            sign: "Evenkeel".to_owned(),
            template: "1".to_owned(),
            url: sms.url(),
            ..settings.auth.sms.clone()
        };
        providers.sms = Some(sms);
    }
    if settings.auth.wechat.app_id.is_empty() {
        let address = local(port(base, WECHAT_PORT_OFFSET));
        let wechat = doubles::wechat::start(address)
            .await
            .map_err(|error| taken("WeChat", &error))?;
        let app = wechat.app();
        settings.auth.wechat = auth::wechat::Config {
            app_id: app.app_id,
            secret: app.secret.into(),
            url: wechat.url(),
        };
        providers.wechat = Some(wechat);
    }
    Ok(providers)
}

fn taken(name: &str, error: &std::io::Error) -> Failure {
    Failure::unavailable(format!("the {name} double cannot listen"))
        .because(error)
        .next("choose other ports with --port-base (0 takes free ones)")
}

/// Reads the keys of what is encrypted, or makes them. Whoever loses this file loses phone numbers and signing keys.
fn vault(path: &Path) -> Result<sealed::Config, Failure> {
    let failed = |error: &dyn std::error::Error| {
        Failure::unavailable(format!("the keys in {} cannot be used", path.display())).because(error)
    };
    if let Ok(text) = fs::read_to_string(path) {
        return serde_json::from_str(&text).map_err(|error| failed(&error));
    }
    let made = sealed::Config::generate().map_err(|error| failed(&error))?;
    let keys: Vec<_> = made
        .keys
        .iter()
        .map(|key| json!({"version": key.version, "key": key.key}))
        .collect();
    let text = json!({"keys": keys, "index_key": made.index_key}).to_string();
    // Written whole and then named, unless somebody else was first: nobody reads half a file, and all read the same.
    let draft = path.with_extension(Uuid::now_v7().simple().to_string());
    let write = || -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        match fs::hard_link(&draft, path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
            Ok(()) | Err(_) => fs::remove_file(&draft),
        }
    };
    write().map_err(|error| failed(&error))?;
    let text = fs::read_to_string(path).map_err(|error| failed(&error))?;
    serde_json::from_str(&text).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn keys_are_made_once_and_for_their_owner_only() {
        let dir = test_support::Scratch::new().unwrap();
        let path = dir.path().join("vault.json");
        let made = vault(&path).unwrap();
        let read = vault(&path).unwrap();
        assert_eq!(
            (made.index_key, &made.keys[0].key),
            (read.index_key, &read.keys[0].key)
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "{").unwrap();
        assert!(vault(&path).is_err());
    }
}
