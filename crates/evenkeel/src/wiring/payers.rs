//! What the billing service needs in development and is not configured: doubles of the payment providers, with keys that are
//! made at each start.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use doubles::pay::Options;
use doubles::{alipay, wechatpay};

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
    let dir = crate::identity::absolute(&data_dir.join("merchant"));
    let wanted = [
        &settings.providers.wechat.app_id,
        &settings.providers.alipay.app_id,
    ];
    if wanted.iter().all(|app_id| !app_id.is_empty()) {
        return Ok(payers);
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
        let double = wechatpay::start(address, Options::default())
            .await
            .map_err(|error| taken("WeChat Pay", &error))?;
        use_wechat(settings, &double, &dir)?;
        payers.wechat = Some(double);
    }
    if settings.providers.alipay.app_id.is_empty() {
        let address = local(port(base, ALIPAY_PORT_OFFSET));
        let double = alipay::start(address, Options::default())
            .await
            .map_err(|error| taken("Alipay", &error))?;
        double.tell_transfers_to(&format!("{}/alipay", settings.billing.notify_url));
        use_alipay(settings, &double, &dir)?;
        payers.alipay = Some(double);
    }
    Ok(payers)
}

fn use_wechat(settings: &mut Settings, double: &wechatpay::WeChatPay, dir: &Path) -> Result<(), Failure> {
    let merchant = double.merchant();
    let wechat = &mut settings.providers.wechat;
    wechat.private_key_path = write(dir, "wechat.key.pem", &merchant.private_key)?;
    wechat.public_key_path = write(dir, "wechat.platform.pem", &merchant.public_key)?;
    wechat.app_id = merchant.app_id;
    wechat.merchant_id = merchant.merchant_id;
    wechat.serial = merchant.serial;
    wechat.api_v3_key = merchant.api_v3_key;
    wechat.public_key_id = merchant.public_key_id;
    wechat.transfer_scene = "1005".to_owned();
    wechat.transfer_reports = vec![("岗位类型".to_owned(), "推广员".to_owned())];
    wechat.url = double.url();
    Ok(())
}

fn use_alipay(settings: &mut Settings, double: &alipay::Alipay, dir: &Path) -> Result<(), Failure> {
    let merchant = double.merchant();
    let alipay = &mut settings.providers.alipay;
    alipay.private_key_path = write(dir, "alipay.key", &merchant.private_key)?;
    alipay.app_certificate_path = write(dir, "alipay.app.crt", &merchant.app_certificate)?;
    alipay.alipay_certificate_path = write(dir, "alipay.platform.crt", &merchant.alipay_certificate)?;
    alipay.roots_path = write(dir, "alipay.roots.crt", &merchant.roots)?;
    alipay.app_id = merchant.app_id;
    alipay.merchant_id = merchant.merchant_id;
    alipay.url = double.url();
    Ok(())
}

/// Writes a file for its owner only, in place of the one of the last start.
fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf, Failure> {
    let path = dir.join(name);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| unwritable(&path, &error))?;
    Ok(path)
}

fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::unavailable(format!("{} cannot be written", path.display())).because(error)
}

fn taken(name: &str, error: &std::io::Error) -> Failure {
    Failure::unavailable(format!("the {name} double cannot listen"))
        .because(error)
        .next("choose other ports with --port-base (0 takes free ones)")
}
