//! What a merchant gets from WeChat.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::kept;

/// What a merchant gets from WeChat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Merchant {
    /// App id.
    pub app_id: String,
    /// Merchant id.
    pub merchant_id: String,
    /// Serial number of the merchant's certificate.
    pub serial: String,
    /// Its private key, PKCS#8 in PEM.
    pub private_key: String,
    /// The APIv3 key.
    pub api_v3_key: String,
    /// Id of WeChat's public key.
    pub public_key_id: String,
    /// WeChat's public key in PEM.
    pub public_key: String,
}

impl Merchant {
    /// Writes the files a service needs into a directory, for their owner only, and returns the environment variables that
    /// name them and the rest: `WECHAT_PAY_APPID` and so on. Paths are absolute.
    ///
    /// # Errors
    /// A file cannot be written; the text names it.
    pub fn write(&self, dir: &Path) -> std::io::Result<Vec<(&'static str, String)>> {
        let dir = std::path::absolute(dir)?;
        let (own, platform) = (
            dir.join("wechatpay-merchant.key.pem"),
            dir.join("wechatpay-platform.pub.pem"),
        );
        kept::write(&own, self.private_key.as_bytes())?;
        kept::write(&platform, self.public_key.as_bytes())?;
        Ok(vec![
            ("WECHAT_PAY_APPID", self.app_id.clone()),
            ("WECHAT_PAY_MCHID", self.merchant_id.clone()),
            ("WECHAT_PAY_SERIAL_NO", self.serial.clone()),
            ("WECHAT_PAY_PRIVATE_KEY_PATH", own.display().to_string()),
            ("WECHAT_PAY_API_V3_KEY", self.api_v3_key.clone()),
            ("WECHAT_PAY_PUBLIC_KEY_PATH", platform.display().to_string()),
            ("WECHAT_PAY_PUBLIC_KEY_ID", self.public_key_id.clone()),
        ])
    }
}
