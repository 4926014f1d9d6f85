//! Handles whose keys are in the double.

use std::time::Duration;

use doubles::kms::KmsService;
use kms::{Kms, LocalKeys, Patience, Place, Provider, Tencent};
use tencent_cloud::{Account, Client, Clock, Endpoint};
use test_support::Scratch;

pub(crate) const HERE: Place<'static> = Place {
    table: "task.provider",
    column: "api_key",
    row: "provider_1",
};
pub(crate) const SECRET: &[u8] = b"sk-live-1234567890";
/// Long enough for a busy machine, short enough to be waited for.
pub(crate) const CALL: Duration = Duration::from_millis(500);

pub(crate) async fn service() -> KmsService {
    doubles::kms::start("127.0.0.1:0").await.unwrap()
}

pub(crate) fn endpoint(double: &KmsService, timeout: Duration) -> Endpoint {
    Endpoint {
        service: "kms",
        version: "2019-01-18",
        url: double.url(),
        region: "ap-guangzhou".to_owned(),
        timeout,
    }
}

pub(crate) fn account(double: &KmsService) -> Account {
    let account = double.account();
    Account {
        secret_id: account.secret_id,
        secret_key: account.secret_key.into(),
    }
}

/// A client that is hasty, so that nobody waits for what hangs on purpose.
pub(crate) fn client(double: &KmsService, clock: Clock) -> Client {
    Client::build(
        endpoint(double, CALL),
        account(double),
        clock,
        reqwest::Client::builder(),
    )
    .unwrap()
}

pub(crate) fn patience() -> Patience {
    Patience {
        pause: Duration::from_millis(5),
        ..Patience::default()
    }
}

pub(crate) fn provider(double: &KmsService, key_id: &str) -> Provider {
    let client = client(double, Clock::system());
    Provider::Tencent(Tencent::new(client, key_id.to_owned(), patience()).unwrap())
}

/// A handle that remembers nothing of others.
pub(crate) fn handle(double: &KmsService, key_id: &str) -> Kms {
    Kms::new(provider(double, key_id), Vec::new())
}

pub(crate) fn local(dir: &Scratch) -> Provider {
    let path = dir.path().join("kms.json");
    if !path.exists() {
        kms::create_file(&path).unwrap();
    }
    Provider::Local(LocalKeys::read(&path).unwrap())
}

/// Actions that the double has seen.
pub(crate) fn actions(double: &KmsService) -> Vec<String> {
    double.calls().into_iter().map(|call| call.action).collect()
}
