//! The doubles of the providers that logins need.

use std::sync::Arc;

use doubles::sms::SmsProvider;
use doubles::wechat::WechatLogin;

/// Both providers. They stop with the last clone.
#[derive(Debug, Clone)]
pub(crate) struct Providers {
    pub(crate) sms: Arc<SmsProvider>,
    pub(crate) wechat: Arc<WechatLogin>,
}

impl Providers {
    pub(crate) async fn start() -> Self {
        Self {
            sms: Arc::new(doubles::sms::start("127.0.0.1:0").await.unwrap()),
            wechat: Arc::new(doubles::wechat::start("127.0.0.1:0").await.unwrap()),
        }
    }

    pub(crate) fn sms_config(&self) -> auth::sms::Config {
        let account = self.sms.account();
        auth::sms::Config {
            secret_id: account.secret_id,
            secret_key: account.secret_key.into(),
            app_id: "1400000000".to_owned(),
            sign: "Evenkeel".to_owned(),
            template: "1".to_owned(),
            url: self.sms.url(),
            ..auth::sms::Config::default()
        }
    }

    pub(crate) fn wechat_config(&self) -> auth::wechat::Config {
        let app = self.wechat.app();
        auth::wechat::Config {
            app_id: app.app_id,
            secret: app.secret.into(),
            url: self.wechat.url(),
        }
    }

    /// Returns the last code that a phone of mainland China has got.
    pub(crate) fn sms_code(&self, phone: &str) -> String {
        let messages = self.sms.messages();
        let number = format!("+86{phone}");
        let last = messages.into_iter().rfind(|message| message.phone == number);
        last.expect("a code was sent").code
    }
}
