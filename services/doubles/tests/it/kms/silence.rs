//! Nothing that is secret is in logs, errors or `Debug`.
//!
//! Everything is captured at the level TRACE, also what the HTTP client below says of itself. The secrets are planted or
//! found out by the test, and looked for as text, in both cases of hexadecimal, in every base64, and as lists of numbers.

use std::error::Error as StdError;
use std::fmt::{Debug, Write as _};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use chrono::Utc;
use doubles::kms::{Behaviour, KmsService};
use kms::{Config, Kms, LocalConfig, LocalKeys, Patience, Place, Provider, Tencent, TencentConfig};
use serde_json::{Value, json};
use tencent_cloud::Clock;
use test_support::Scratch;
use tracing_subscriber::fmt::MakeWriter;

use super::world::{account, client, endpoint, patience, service};

const HERE: Place<'static> = Place {
    table: "task.provider",
    column: "api_key",
    row: "provider_1",
};
const PLAIN: &[u8] = b"planted-plaintext-sk-live-0123456789";

/// Everything that was logged or shown.
#[derive(Clone, Default)]
struct Capture(Arc<Mutex<Vec<u8>>>);

impl io::Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Capture {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Capture {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    /// Shows a value as a careless line of logging would.
    fn show(&self, value: &impl Debug) {
        let text = format!("{value:?}\n{value:#?}\n");
        self.0.lock().unwrap().extend_from_slice(text.as_bytes());
    }

    /// Shows an error with all of its causes, in every way.
    fn show_error(&self, error: &(dyn StdError + 'static)) {
        let mut text = String::new();
        let mut next = Some(error);
        while let Some(error) = next {
            writeln!(text, "{error} {error:#} {error:?} {error:#?}").unwrap();
            next = error.source();
        }
        self.0.lock().unwrap().extend_from_slice(text.as_bytes());
        tracing::error!(error, "shown");
    }
}

/// Every form in which bytes may slip out.
fn forms(secret: &[u8]) -> Vec<String> {
    let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![
        String::from_utf8_lossy(secret).into_owned(),
        hex.to_uppercase(),
        hex,
        format!("{secret:?}").trim_matches(['[', ']']).to_owned(),
        format!("{secret:#?}"),
        secret.escape_ascii().to_string(),
    ];
    for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
        forms.push(engine.encode(secret));
    }
    forms
}

/// The form that `text` has a secret in, if any.
fn leak(text: &str, secret: &[u8]) -> Option<String> {
    // Half of it is too much as well.
    forms(secret)
        .into_iter()
        .chain(forms(&secret[..secret.len() / 2 + 1]))
        .find(|form| text.contains(form.trim_end_matches('=')))
}

/// The data key of a field under a key file, unwrapped here after ADR 0018 and not with the crate.
fn local_data_key(kek: &[u8], name: &str, sealed: &[u8]) -> Vec<u8> {
    let at = 3 + 1 + 1 + 1 + name.len() + 4;
    let length = usize::from(u16::from_be_bytes([sealed[at], sealed[at + 1]]));
    let wrapped = &sealed[at + 2..at + 2 + length];
    let mut aad = Vec::new();
    let push = |aad: &mut Vec<u8>, part: &[u8]| {
        aad.extend((part.len() as u64).to_be_bytes());
        aad.extend(part);
    };
    push(&mut aad, b"evenkeel.kms.key");
    aad.extend([1, 1]);
    push(&mut aad, name.as_bytes());
    aad.extend(1_u32.to_be_bytes());
    for part in [HERE.table, HERE.column, HERE.row] {
        push(&mut aad, part.as_bytes());
    }
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, kek).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(&wrapped[..12]).unwrap();
    let mut body = wrapped[12..].to_vec();
    key.open_in_place(nonce, Aad::from(aad), &mut body)
        .unwrap()
        .to_vec()
}

/// The data key of a field under a master key, asked for as the crate asks for it.
async fn cloud_data_key(double: &KmsService, sealed: &[u8]) -> Vec<u8> {
    let at = 3 + 1 + 1 + 1 + double.key_id().len() + 4;
    let length = usize::from(u16::from_be_bytes([sealed[at], sealed[at + 1]]));
    let blob = str::from_utf8(&sealed[at + 2..at + 2 + length]).unwrap();
    let context = double.calls().last().unwrap().context.clone().unwrap();
    let answer: Value = client(double, Clock::system())
        .call(
            "Decrypt",
            &json!({"CiphertextBlob": blob, "EncryptionContext": context}),
        )
        .await
        .unwrap();
    STANDARD.decode(answer["Plaintext"].as_str().unwrap()).unwrap()
}

fn write(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn no_secret_is_logged_or_shown() {
    let capture = Capture::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(capture.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    tracing::info!("the capture begins");

    let dir = Scratch::new().unwrap();
    let file = dir.path().join("kms.json");
    let kek: [u8; 32] = std::array::from_fn(|at| u8::try_from(at).unwrap().wrapping_mul(37) ^ 0x5a);
    let key = STANDARD.encode(kek);
    let text = json!({"name": "planted", "current": 1, "keys": [{"version": 1, "key": key}]}).to_string();
    write(&file, &text);
    let double = service().await;

    let local_data_key = through_a_key_file(&capture, &file, &kek).await;
    let cloud_data_key = through_the_service(&capture, &double).await;
    settings(&capture, &double, &file);
    // Files that are broken in the middle of their keys.
    for broken in [
        text.replace("}]", "}"),
        text.replace("\"current\":1", "\"current\":\"x\""),
    ] {
        write(&file, &broken);
        capture.show_error(&LocalKeys::read(&file).unwrap_err());
    }
    write(&file, &text.replace(&key, &key[..40]));
    capture.show_error(&LocalKeys::read(&file).unwrap_err());
    drop(guard);

    let shown = capture.text();
    let api_key = double.account().secret_key;
    let secrets = [
        ("the plaintext", PLAIN),
        ("the key of the file", &kek),
        ("a data key of the file", &local_data_key),
        ("a data key of the service", &cloud_data_key),
        ("the API key", api_key.as_bytes()),
    ];
    for (name, secret) in secrets {
        assert!(secret.len() >= 32, "{name} is too short to be looked for");
        if let Some(form) = leak(&shown, secret) {
            let at = shown.find(form.trim_end_matches('=')).unwrap();
            let line = shown[..at].rfind('\n').map_or(0, |at| at + 1);
            panic!("{name} is shown: {}", &shown[line..at]);
        }
    }
    // It would have been noticed: the capture has lines of ours and of the HTTP client, and what errors say.
    for said in [
        "the capture begins",
        "the key service is not available",
        "hyper",
        "Kms",
        "is damaged or belongs elsewhere",
        "ResourceUnavailable.CmkDisabled",
        "is no key file",
        double.key_id(),
    ] {
        assert!(shown.contains(said), "{said} is not in the capture");
    }
    for (name, secret) in secrets {
        for form in forms(secret) {
            let with = format!("{shown} {form}");
            assert!(
                leak(&with, secret).is_some(),
                "{name} would not be noticed as {form}"
            );
        }
    }
}

/// Does everything that can be done with a key file, right and wrong; returns the data key.
async fn through_a_key_file(capture: &Capture, file: &Path, kek: &[u8]) -> Vec<u8> {
    let keys = LocalKeys::read(file).unwrap();
    capture.show(&keys);
    let kms = Kms::new(Provider::Local(keys), Vec::new());
    capture.show(&kms);
    let sealed = kms.seal(HERE, PLAIN).await.unwrap();
    capture.show(&kms.key_of(&sealed).unwrap());
    assert_eq!(kms.open(HERE, &sealed).await.unwrap().as_slice(), PLAIN);
    let elsewhere = Place { row: "x", ..HERE };
    capture.show_error(&kms.open(elsewhere, &sealed).await.unwrap_err());
    capture.show_error(&kms.open(HERE, PLAIN).await.unwrap_err());
    capture.show_error(&kms.seal(HERE, &PLAIN.repeat(3_000)).await.unwrap_err());
    capture.show_error(&kms.seal(Place { row: "", ..HERE }, PLAIN).await.unwrap_err());
    local_data_key(kek, "planted", &sealed)
}

/// Does everything that can be done with the service, right and wrong; returns the data key.
async fn through_the_service(capture: &Capture, double: &KmsService) -> Vec<u8> {
    let client = client(double, Clock::system());
    capture.show(&client);
    capture.show(&account(double));
    capture.show(&endpoint(double, std::time::Duration::from_secs(1)));
    let handle = |patience: Patience| {
        let tencent = Tencent::new(client.clone(), double.key_id().to_owned(), patience).unwrap();
        capture.show(&tencent);
        Kms::new(Provider::Tencent(tencent), Vec::new())
    };
    let kms = handle(patience());
    let sealed = kms.seal(HERE, PLAIN).await.unwrap();
    let data_key = cloud_data_key(double, &sealed).await;
    let other = handle(patience());
    assert_eq!(other.open(HERE, &sealed).await.unwrap().as_slice(), PLAIN);
    capture.show(&other);
    assert!(double.rotate(double.key_id()));
    other.refresh(HERE, &sealed).await.unwrap().unwrap();
    let elsewhere = Place { row: "x", ..HERE };
    capture.show_error(&other.open(elsewhere, &sealed).await.unwrap_err());

    let fresh = handle(Patience {
        calls: 1,
        ..patience()
    });
    for behaviour in [
        Behaviour::Status(503),
        Behaviour::Hang,
        Behaviour::Garbage,
        Behaviour::Cut,
        Behaviour::Huge,
        Behaviour::ShortKey,
        Behaviour::WrongSignature,
    ] {
        double.program(vec![behaviour.clone(), behaviour]);
        for error in [
            fresh.seal(HERE, PLAIN).await.err(),
            fresh.open(HERE, &sealed).await.err(),
        ] {
            capture.show_error(&error.unwrap());
        }
    }
    assert!(double.set_enabled(double.key_id(), false));
    capture.show_error(&fresh.open(HERE, &sealed).await.unwrap_err());
    capture.show(&double.calls());
    tracing::info!(at = %Utc::now(), calls = ?double.calls(), "the service has been asked");
    data_key
}

fn settings(capture: &Capture, double: &KmsService, file: &Path) {
    let account = double.account();
    let mut config = Config {
        local: LocalConfig {
            file: Some(file.to_owned()),
        },
        tencent: TencentConfig {
            secret_id: account.secret_id,
            secret_key: account.secret_key.into(),
            key_id: "not a key".to_owned(),
            ..TencentConfig::default()
        },
        ..Config::default()
    };
    capture.show(&config);
    capture.show_error(&Kms::open_config(&config).unwrap_err());
    config.tencent.key_id.clear();
    capture.show_error(&Kms::open_config(&config).unwrap_err());
}
