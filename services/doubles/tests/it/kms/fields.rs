//! Fields under master keys of the service.

use kms::{Config, Error, Kind, Kms, Place, TencentConfig};
use test_support::Scratch;

use super::world::{HERE, SECRET, actions, handle, local, provider, service};

const BODY: usize = SECRET.len() + 16 + 12;

#[tokio::test]
async fn a_field_is_sealed_under_a_data_key_of_the_service_and_opens_in_its_place_only() {
    let double = service().await;
    let kms = handle(&double, double.key_id());
    let sealed = kms.seal(HERE, SECRET).await.unwrap();
    assert_eq!(actions(&double), ["GenerateDataKey"]);
    let key = kms.key_of(&sealed).unwrap();
    assert_eq!((key.kind, key.name.as_str()), (Kind::Tencent, double.key_id()));

    // The one who sealed remembers the key, and gives it out for nothing but this field; others ask.
    let other = handle(&double, double.key_id());
    for kms in [&kms, &other] {
        assert_eq!(kms.open(HERE, &sealed).await.unwrap().as_slice(), SECRET);
        let elsewhere = Place {
            row: "provider_2",
            ..HERE
        };
        let opened = kms.open(elsewhere, &sealed).await;
        assert!(matches!(opened, Err(Error::Damaged)), "{opened:?}");
        let mut claims = sealed.clone();
        claims[6] = if claims[6] == b'a' { b'b' } else { b'a' };
        let opened = kms.open(HERE, &claims).await;
        assert!(matches!(opened, Err(Error::Damaged)), "{opened:?}");
    }
    // The service itself was asked in the field's own context, and refused any other.
    let contexts: std::collections::BTreeSet<_> = double.calls().into_iter().map(|c| c.context).collect();
    assert!(contexts.len() > 1 && !contexts.contains(&None));
}

#[tokio::test]
async fn every_changed_byte_is_noticed() {
    let double = service().await;
    let kms = handle(&double, double.key_id());
    let sealed = kms.seal(HERE, SECRET).await.unwrap();
    let other = handle(&double, double.key_id());
    other.open(HERE, &sealed).await.unwrap();
    for at in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[at] ^= 1;
        // Both have the key in memory: neither gives it out for an envelope that is not the one it came with.
        for kms in [&kms, &other] {
            let opened = kms.open(HERE, &changed).await;
            // A wrapped key that names a master key that is none is refused by the service.
            assert!(
                matches!(opened, Err(Error::Damaged | Error::NoKey(_) | Error::Refused(_))),
                "byte {at}: {opened:?}"
            );
        }
        assert!(kms.open(HERE, &sealed[..at]).await.is_err());
    }
}

#[tokio::test]
async fn what_was_read_is_read_again_without_asking() {
    let double = service().await;
    let kms = handle(&double, double.key_id());
    let sealed = kms.seal(HERE, SECRET).await.unwrap();
    let other = handle(&double, double.key_id());
    for _ in 0..3 {
        kms.open(HERE, &sealed).await.unwrap();
        other.open(HERE, &sealed).await.unwrap();
    }
    assert_eq!(actions(&double), ["GenerateDataKey", "Decrypt"]);
    // Every field has a data key of its own.
    kms.seal(HERE, SECRET).await.unwrap();
    assert_eq!(actions(&double).len(), 3);
}

#[tokio::test]
async fn a_field_moves_to_another_master_key_and_its_content_stays() {
    let double = service().await;
    let sealed = handle(&double, double.key_id()).seal(HERE, SECRET).await.unwrap();
    let next = double.create_key();
    let kms = handle(&double, &next);
    let moved = kms.rewrap(HERE, &sealed).await.unwrap().unwrap();
    assert_eq!(kms.key_of(&moved).unwrap().name, next);
    assert_eq!(sealed[sealed.len() - BODY..], moved[moved.len() - BODY..]);
    // It was opened before it was given back.
    assert_eq!(actions(&double), ["GenerateDataKey", "ReEncrypt", "Decrypt"]);
    assert!(kms.rewrap(HERE, &moved).await.unwrap().is_none());
    assert!(double.set_enabled(double.key_id(), false));
    let fresh = handle(&double, &next);
    assert_eq!(fresh.open(HERE, &moved).await.unwrap().as_slice(), SECRET);
    let gone = fresh.open(HERE, &sealed).await;
    assert!(matches!(gone, Err(Error::Refused(code)) if code == "ResourceUnavailable.CmkDisabled"));
}

#[tokio::test]
async fn new_material_of_a_master_key_is_taken_up_by_a_refresh() {
    let double = service().await;
    let kms = handle(&double, double.key_id());
    let sealed = kms.seal(HERE, SECRET).await.unwrap();
    assert!(kms.refresh(HERE, &sealed).await.unwrap().is_none());
    assert!(double.rotate(double.key_id()));
    // What the service has rotated by itself, it still opens by itself.
    let fresh = handle(&double, double.key_id());
    assert_eq!(fresh.open(HERE, &sealed).await.unwrap().as_slice(), SECRET);
    assert!(kms.rewrap(HERE, &sealed).await.unwrap().is_none());
    let renewed = kms.refresh(HERE, &sealed).await.unwrap().unwrap();
    assert_ne!(renewed, sealed);
    assert_eq!(fresh.open(HERE, &renewed).await.unwrap().as_slice(), SECRET);
    assert!(kms.refresh(HERE, &renewed).await.unwrap().is_none());
}

#[tokio::test]
async fn fields_move_between_a_key_file_and_the_service() {
    let (double, dir) = (service().await, Scratch::new().unwrap());
    let cloud = || provider(&double, double.key_id());
    let old = Kms::new(local(&dir), Vec::new());
    let sealed = old.seal(HERE, SECRET).await.unwrap();

    let there = Kms::new(cloud(), vec![local(&dir)]);
    let moved = there.rewrap(HERE, &sealed).await.unwrap().unwrap();
    assert_eq!(actions(&double), ["Encrypt", "Decrypt"]);
    let opened = handle(&double, double.key_id()).open(HERE, &moved).await.unwrap();
    assert_eq!(opened.as_slice(), SECRET);

    let back = Kms::new(local(&dir), vec![cloud()]);
    let returned = back.rewrap(HERE, &moved).await.unwrap().unwrap();
    assert_eq!(old.open(HERE, &returned).await.unwrap().as_slice(), SECRET);
    let unknown = old.open(HERE, &moved).await;
    assert!(matches!(unknown, Err(Error::NoKey(key)) if key.name == double.key_id()));
}

#[tokio::test]
async fn the_settings_make_a_handle() {
    let double = service().await;
    let account = double.account();
    let config = Config {
        tencent: TencentConfig {
            secret_id: account.secret_id,
            secret_key: account.secret_key.into(),
            key_id: double.key_id().to_owned(),
            url: double.url(),
            ..TencentConfig::default()
        },
        ..Config::default()
    };
    let kms = Kms::open_config(&config).unwrap().unwrap();
    let sealed = kms.seal(HERE, SECRET).await.unwrap();
    assert_eq!(kms.open(HERE, &sealed).await.unwrap().as_slice(), SECRET);
}
