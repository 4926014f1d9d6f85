//! Sealing, opening and re-wrapping.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::executor::block_on;
use kms::{Error, Kms, MAX_PLAIN_BYTES, Place};
use proptest::prelude::*;

use crate::world::{HERE, KeyFile};

const SECRET: &[u8] = b"sk-live-1234567890";

#[tokio::test]
async fn a_field_opens_in_its_place_only() {
    let kms = KeyFile::new().kms();
    let sealed = kms.seal(HERE, SECRET).await.unwrap();
    assert_eq!(kms.open(HERE, &sealed).await.unwrap().as_slice(), SECRET);
    for elsewhere in [
        Place {
            table: "task.providers",
            ..HERE
        },
        Place {
            column: "secret",
            ..HERE
        },
        Place {
            row: "provider_2",
            ..HERE
        },
        Place {
            table: "task.providera",
            column: "pi_key",
            ..HERE
        },
    ] {
        let opened = kms.open(elsewhere, &sealed).await;
        assert!(matches!(opened, Err(Error::Damaged)), "{elsewhere:?}");
        assert!(kms.rewrap(elsewhere, &sealed).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn every_field_has_a_data_key_of_its_own() {
    let kms = KeyFile::new().kms();
    let [a, b] = [
        kms.seal(HERE, SECRET).await.unwrap(),
        kms.seal(HERE, SECRET).await.unwrap(),
    ];
    assert_eq!(a.len(), b.len());
    // The content of one does not open under the wrapped key of the other.
    let body = SECRET.len() + 16 + 12;
    let mixed = [&a[..a.len() - body], &b[b.len() - body..]].concat();
    assert!(matches!(kms.open(HERE, &mixed).await, Err(Error::Damaged)));
    let empty = kms.seal(HERE, b"").await.unwrap();
    assert!(kms.open(HERE, &empty).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_too_large_or_has_no_place_is_refused() {
    let kms = KeyFile::new().kms();
    let largest = vec![7; MAX_PLAIN_BYTES];
    let sealed = kms.seal(HERE, &largest).await.unwrap();
    assert_eq!(*kms.open(HERE, &sealed).await.unwrap(), largest);
    let larger = vec![7; MAX_PLAIN_BYTES + 1];
    assert!(matches!(kms.seal(HERE, &larger).await, Err(Error::TooLarge)));
    let nowhere = Place { row: "", ..HERE };
    assert!(matches!(kms.seal(nowhere, SECRET).await, Err(Error::Place)));
    assert!(matches!(kms.open(nowhere, &sealed).await, Err(Error::Place)));
}

#[tokio::test]
async fn a_new_version_seals_the_old_one_opens_and_rewrapping_moves_between_them() {
    let file = KeyFile::new();
    let before = file.kms();
    let old = before.seal(HERE, SECRET).await.unwrap();
    file.rotate();
    let after = file.kms();
    assert_eq!(after.open(HERE, &old).await.unwrap().as_slice(), SECRET);
    assert_eq!(after.key_of(&old).unwrap(), before.current());

    let new = after.rewrap(HERE, &old).await.unwrap().unwrap();
    assert_eq!(after.key_of(&new).unwrap(), after.current());
    assert_eq!(after.open(HERE, &new).await.unwrap().as_slice(), SECRET);
    // The content is the same bytes: only the wrapping has changed.
    let body = SECRET.len() + 16 + 12;
    assert_eq!(old[old.len() - body..], new[new.len() - body..]);
    assert!(after.rewrap(HERE, &new).await.unwrap().is_none());
    assert!(after.refresh(HERE, &new).await.unwrap().is_none());

    let unknown = before.open(HERE, &new).await;
    assert!(matches!(unknown, Err(Error::NoKey(key)) if key == after.current()));
}

#[tokio::test]
async fn a_version_of_another_file_is_not_taken_for_ours() {
    let [ours, theirs] = [KeyFile::new(), KeyFile::new()];
    let sealed = theirs.kms().seal(HERE, SECRET).await.unwrap();
    assert!(matches!(
        ours.kms().open(HERE, &sealed).await,
        Err(Error::NoKey(_))
    ));
    // Both may be there: ours seals, theirs opens.
    let both = Kms::new(ours.provider(), vec![theirs.provider()]);
    let moved = both.rewrap(HERE, &sealed).await.unwrap().unwrap();
    assert_eq!(ours.kms().open(HERE, &moved).await.unwrap().as_slice(), SECRET);
}

#[tokio::test]
async fn an_envelope_cannot_claim_another_version() {
    let file = KeyFile::new();
    let sealed = file.kms().seal(HERE, SECRET).await.unwrap();
    file.rotate();
    let kms = file.kms();
    // The version's last byte, after magic, format, kind, and the name with its length.
    let at = 3 + 1 + 1 + 1 + 16 + 3;
    assert_eq!(sealed[at], 1);
    let mut claims = sealed.clone();
    claims[at] = 2;
    assert!(matches!(kms.open(HERE, &claims).await, Err(Error::Damaged)));
    claims[at] = 3;
    assert!(matches!(kms.open(HERE, &claims).await, Err(Error::NoKey(_))));
}

/// A field as version 1 of the format has it, made after ADR 0018 by another implementation. If this fails, fields that lie in databases do not open any more.
#[tokio::test]
async fn a_field_of_an_earlier_release_opens() {
    let file = KeyFile::of(
        r#"{"name": "0123456789abcdef", "current": 7,
            "keys": [{"version": 7, "key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}]}"#,
    );
    let sealed = concat!(
        "RUtFAQEQMDEyMzQ1Njc4OWFiY2RlZgAAAAcAPAABAgMEBQYHCAkKCyNnsHytjKhw4Sz55MGYCh73o/FDiAIlB0Qam/qd6IIx",
        "Hckb02j5N8kb4dc2uz1nnTIzNDU2Nzg5Ojs8PYv4EyqFApmM6p+V6WRYw+6fJ93Rj2v0jAg0aLkmo/fH6ZI="
    );
    let sealed = STANDARD.decode(sealed).unwrap();
    let opened = file.kms().open(HERE, &sealed).await.unwrap();
    assert_eq!(opened.as_slice(), SECRET);
}

proptest! {
    #[test]
    fn bytes_that_were_changed_cut_or_added_are_noticed(
        plain in prop::collection::vec(any::<u8>(), 0..40),
        at in any::<prop::sample::Index>(),
        bit in 0..8u8,
        extra in prop::collection::vec(any::<u8>(), 1..20),
    ) {
        let file = KeyFile::new();
        file.rotate();
        let kms = file.kms();
        let sealed = block_on(kms.seal(HERE, &plain)).unwrap();
        let at = at.index(sealed.len());
        let mut changed = sealed.clone();
        changed[at] ^= 1 << bit;
        prop_assert!(block_on(kms.open(HERE, &changed)).is_err());
        prop_assert!(block_on(kms.open(HERE, &sealed[..at])).is_err());
        prop_assert!(block_on(kms.open(HERE, &[&sealed[..], &extra].concat())).is_err());
        prop_assert_eq!(&*block_on(kms.open(HERE, &sealed)).unwrap(), &plain);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let kms = KeyFile::new().kms();
        prop_assert!(block_on(kms.open(HERE, &bytes)).is_err());
        prop_assert!(block_on(kms.rewrap(HERE, &bytes)).is_err());
    }
}
