//! What the billing service needs in development and is not configured: doubles of the payment providers, which keep their
//! keys in the data directory, and their books in memory.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use doubles::pay::{Books, Options};
use doubles::{alipay, wechatpay};

use super::providers::ClearKeys;
use super::settings::{Settings, local, port};
use crate::exit::Failure;

/// Distances of the providers' ports from the first port.
const WECHAT_PORT_OFFSET: u16 = 493;
const ALIPAY_PORT_OFFSET: u16 = 494;

/// Payment providers that run here in place of real ones. They stop when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Payers {
    pub(crate) wechat: Option<wechatpay::WeChatPay>,
    pub(crate) alipay: Option<alipay::Alipay>,
}

/// Starts doubles of the providers that are not configured, and writes the merchant's keys to `data_dir`, where the
/// settings then look for them.
///
/// # Errors
/// A file cannot be written, or a port is taken.
pub(crate) async fn complete(
    settings: &mut Settings,
    base: u16,
    data_dir: &Path,
    gateway: &str,
) -> Result<Payers, Failure> {
    let mut payers = Payers::default();
    let dir = crate::identity::absolute(&data_dir.join("doubles"));
    let wanted = [
        &settings.providers.wechat.app_id,
        &settings.providers.alipay.app_id,
    ];
    if wanted.iter().all(|app_id| !app_id.is_empty()) {
        return Ok(payers);
    }
    if settings.providers.clear_keys == ClearKeys::Warn {
        // They are those of doubles.
        settings.providers.clear_keys = ClearKeys::Allow;
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&dir)
        .map_err(|error| unwritable(&dir, &error))?;
    let here = billing::Config::default().notify_url;
    if settings.billing.notify_url == here {
        settings.billing.notify_url = format!("{gateway}/api/v1/payments/notify");
    }
    if settings.providers.wechat.app_id.is_empty() {
        let address = local(port(base, WECHAT_PORT_OFFSET));
        let keys = wechatpay::Keys::in_dir(&dir).map_err(|error| unwritable(&dir, &error))?;
        let double = wechatpay::resume(address, Options::default(), &keys, Books::default())
            .await
            .map_err(|error| taken("WeChat Pay", &error))?;
        use_wechat(settings, &double, &dir)?;
        payers.wechat = Some(double);
    }
    if settings.providers.alipay.app_id.is_empty() {
        let address = local(port(base, ALIPAY_PORT_OFFSET));
        let keys = alipay::Keys::in_dir(&dir).map_err(|error| unwritable(&dir, &error))?;
        let double = alipay::resume(address, Options::default(), &keys, Books::default())
            .await
            .map_err(|error| taken("Alipay", &error))?;
        double.tell_transfers_to(&format!("{}/alipay", settings.billing.notify_url));
        use_alipay(settings, &double, &dir)?;
        payers.alipay = Some(double);
    }
    Ok(payers)
}

fn use_wechat(settings: &mut Settings, double: &wechatpay::WeChatPay, dir: &Path) -> Result<(), Failure> {
    let variables = double
        .merchant()
        .write(dir)
        .map_err(|error| unwritable(dir, &error))?;
    let said = said(&variables);
    let wechat = &mut settings.providers.wechat;
    wechat.app_id = said("WECHAT_PAY_APPID");
    wechat.merchant_id = said("WECHAT_PAY_MCHID");
    wechat.serial = said("WECHAT_PAY_SERIAL_NO");
    wechat.private_key_path = said("WECHAT_PAY_PRIVATE_KEY_PATH").into();
    wechat.api_v3_key = said("WECHAT_PAY_API_V3_KEY").into();
    wechat.public_key_id = said("WECHAT_PAY_PUBLIC_KEY_ID");
    wechat.public_key_path = said("WECHAT_PAY_PUBLIC_KEY_PATH").into();
    wechat.transfer_scene = "1005".to_owned();
    wechat.transfer_reports = vec![("岗位类型".to_owned(), "推广员".to_owned())];
    wechat.url = double.url();
    Ok(())
}

fn use_alipay(settings: &mut Settings, double: &alipay::Alipay, dir: &Path) -> Result<(), Failure> {
    let variables = double
        .merchant()
        .write(dir)
        .map_err(|error| unwritable(dir, &error))?;
    let said = said(&variables);
    let alipay = &mut settings.providers.alipay;
    alipay.app_id = said("ALIPAY_APPID");
    alipay.merchant_id = said("ALIPAY_MERCHANT_ID");
    alipay.private_key_path = said("ALIPAY_PRIVATE_KEY_PATH").into();
    alipay.public_key_path = said("ALIPAY_PUBLIC_KEY_PATH").into();
    alipay.app_certificate_path = said("ALIPAY_APP_CERT_PATH").into();
    alipay.alipay_certificate_path = said("ALIPAY_CERT_PATH").into();
    alipay.roots_path = said("ALIPAY_ROOT_CERT_PATH").into();
    alipay.url = double.url();
    Ok(())
}

/// Looks a variable up that a double says a merchant needs.
fn said(variables: &[(&'static str, String)]) -> impl Fn(&str) -> String {
    |name| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::unavailable(format!("{} cannot be written", path.display())).because(error)
}

fn taken(name: &str, error: &std::io::Error) -> Failure {
    Failure::unavailable(format!("the {name} double cannot listen"))
        .because(error)
        .next("choose other ports with --port-base (0 takes free ones)")
}
