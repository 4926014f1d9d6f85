//! What a merchant gets from Alipay.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::kept;

/// What a merchant gets from Alipay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merchant {
    /// App id.
    pub app_id: String,
    /// The merchant's user id.
    pub merchant_id: String,
    /// The app's private key: PKCS#8 in base64 without armour, as Alipay's tools write it.
    pub private_key: String,
    /// Key mode: Alipay's public key in PEM.
    pub alipay_public_key: String,
    /// Certificate mode: the app's certificate.
    pub app_certificate: String,
    /// Certificate mode: Alipay's certificate.
    pub alipay_certificate: String,
    /// Certificate mode: the roots, one of which is not RSA.
    pub roots: String,
}

impl Merchant {
    /// Writes the files a service needs into a directory, for their owner only, and returns the environment variables that
    /// name them and the rest: `ALIPAY_APPID` and so on. Paths are absolute. The last three are for the certificate mode,
    /// which a service uses instead of the public key.
    ///
    /// # Errors
    /// A file cannot be written; the text names it.
    pub fn write(&self, dir: &Path) -> std::io::Result<Vec<(&'static str, String)>> {
        let dir = std::path::absolute(dir)?;
        let mut variables = vec![
            ("ALIPAY_APPID", self.app_id.clone()),
            ("ALIPAY_MERCHANT_ID", self.merchant_id.clone()),
        ];
        for (name, file, text) in [
            ("ALIPAY_PRIVATE_KEY_PATH", "alipay-app.key.txt", &self.private_key),
            (
                "ALIPAY_PUBLIC_KEY_PATH",
                "alipay-platform.pub.pem",
                &self.alipay_public_key,
            ),
            (
                "ALIPAY_APP_CERT_PATH",
                "alipay-app.cert.pem",
                &self.app_certificate,
            ),
            (
                "ALIPAY_CERT_PATH",
                "alipay-platform.cert.pem",
                &self.alipay_certificate,
            ),
            ("ALIPAY_ROOT_CERT_PATH", "alipay-roots.cert.pem", &self.roots),
        ] {
            let path = dir.join(file);
            kept::write(&path, text.as_bytes())?;
            variables.push((name, path.display().to_string()));
        }
        Ok(variables)
    }
}
