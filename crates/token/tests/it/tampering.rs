//! Tokens that are almost right.

use std::sync::LazyLock;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use proptest::prelude::*;
use serde_json::{Value, json};
use token::{Caller, Error, Role};

use crate::support::{Platform, access_parts, forge, service_parts, signed, unix};

/// What is changed, and what becomes of it.
type Case<'a> = (&'a str, Value, Error);

async fn refused(platform: &Platform, token: &str) -> Error {
    platform
        .verifier()
        .verify(token)
        .await
        .expect_err("it is refused")
}

#[tokio::test]
async fn each_claim_of_an_access_token_is_checked() {
    let platform = Platform::new();
    let now = SystemTime::now();
    let (header, claims) = access_parts(&platform, now);
    let pem = platform.auth.to_pem().unwrap();
    let good = forge(&header, &claims, &pem);
    assert!(matches!(
        platform.verifier().verify(&good).await,
        Ok(Caller::User(_))
    ));

    let cases: [Case<'_>; 20] = [
        ("iss", json!("evil"), Error::Issuer),
        ("iss", json!("task"), Error::Issuer),
        ("aud", json!("quota"), Error::Audience),
        ("aud", json!(["evenkeel"]), Error::Malformed),
        ("sub", json!("admin"), Error::Subject),
        (
            "sub",
            json!("task_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b"),
            Error::Subject,
        ),
        ("sid", json!(""), Error::Malformed),
        ("sid", json!("a b"), Error::Malformed),
        ("jti", json!("x".repeat(65)), Error::Malformed),
        ("role", json!("root"), Error::Malformed),
        ("role", json!("Admin"), Error::Malformed),
        ("epoch", json!(-1), Error::Malformed),
        ("epoch", json!("0"), Error::Malformed),
        ("exp", json!(unix(now) - 31), Error::Expired),
        ("exp", json!(unix(now) + 3601), Error::NotYetValid),
        ("exp", json!(1.5), Error::Malformed),
        ("exp", json!(u64::MAX), Error::NotYetValid),
        ("nbf", json!(unix(now) + 60), Error::NotYetValid),
        ("iat", json!(unix(now) + 60), Error::NotYetValid),
        ("iat", json!(-5), Error::Malformed),
    ];
    for (claim, value, error) in cases {
        let mut changed = claims.clone();
        changed[claim] = value.clone();
        let token = forge(&header, &changed, &pem);
        assert_eq!(refused(&platform, &token).await, error, "{claim} = {value}");
    }
    for claim in [
        "iss", "aud", "sub", "sid", "jti", "role", "epoch", "iat", "nbf", "exp",
    ] {
        let mut changed = claims.clone();
        changed.as_object_mut().unwrap().remove(claim);
        let token = forge(&header, &changed, &pem);
        assert_eq!(refused(&platform, &token).await, Error::Malformed, "no {claim}");
    }
}

#[tokio::test]
async fn each_claim_of_a_service_token_is_checked() {
    let platform = Platform::new();
    let now = SystemTime::now();
    let (header, claims) = service_parts(now);
    let pem = platform.private("task");
    let good = forge(&header, &claims, &pem);
    assert!(
        platform
            .verifier()
            .verify(&good)
            .await
            .unwrap()
            .is_service("task")
    );

    let cases: [Case<'_>; 8] = [
        ("iss", json!("saga"), Error::Issuer),
        ("sub", json!("saga"), Error::Subject),
        ("aud", json!("saga"), Error::Audience),
        ("aud", json!("evenkeel"), Error::Audience),
        ("exp", json!(unix(now) - 31), Error::Expired),
        ("exp", json!(unix(now) + 301), Error::NotYetValid),
        ("nbf", json!(unix(now) + 60), Error::NotYetValid),
        ("iat", json!(unix(now) + 60), Error::NotYetValid),
    ];
    for (claim, value, error) in cases {
        let mut changed = claims.clone();
        changed[claim] = value.clone();
        let token = forge(&header, &changed, &pem);
        assert_eq!(refused(&platform, &token).await, error, "{claim} = {value}");
    }
    for claim in ["iss", "aud", "sub", "iat", "nbf", "exp"] {
        let mut changed = claims.clone();
        changed.as_object_mut().unwrap().remove(claim);
        let token = forge(&header, &changed, &pem);
        assert_eq!(refused(&platform, &token).await, Error::Malformed, "no {claim}");
    }
}

#[tokio::test]
async fn each_part_of_the_header_is_checked() {
    let platform = Platform::new();
    let (header, claims) = access_parts(&platform, SystemTime::now());
    let pem = platform.auth.to_pem().unwrap();
    let cases: [Case<'_>; 11] = [
        ("alg", json!("none"), Error::Algorithm),
        ("alg", json!("HS256"), Error::Algorithm),
        ("alg", json!("RS256"), Error::Algorithm),
        ("alg", json!("eddsa"), Error::Algorithm),
        ("typ", json!("JWT"), Error::Type),
        ("typ", json!("AT+JWT"), Error::Type),
        ("typ", json!("svc+jwt"), Error::UnknownKey),
        ("kid", json!("another"), Error::UnknownKey),
        ("kid", json!("saga"), Error::UnknownKey),
        ("kid", json!(7), Error::Malformed),
        ("crit", json!(["exp"]), Error::Malformed),
    ];
    for (part, value, error) in cases {
        let mut changed = header.clone();
        changed[part] = value.clone();
        let token = forge(&changed, &claims, &pem);
        assert_eq!(refused(&platform, &token).await, error, "{part} = {value}");
    }
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused() {
    let platform = Platform::new();
    let (mut header, claims) = access_parts(&platform, SystemTime::now());
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let unsigned = format!("{}.{}.", encode(&header), encode(&claims));
    assert_eq!(refused(&platform, &unsigned).await, Error::Signature);
    header["alg"] = json!("none");
    let none = format!("{}.{}.", encode(&header), encode(&claims));
    assert_eq!(refused(&platform, &none).await, Error::Algorithm);
}

#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let platform = Platform::new();
    let (mut header, claims) = access_parts(&platform, SystemTime::now());
    let public = platform.auth.verifying().to_pem();
    let raw = URL_SAFE_NO_PAD.decode(platform.auth.jwk().x).unwrap();
    for secret in [public.as_bytes(), &raw] {
        let key = EncodingKey::from_secret(secret);
        header["alg"] = json!("HS256");
        let token = signed(&header, &claims, &key, Algorithm::HS256);
        assert_eq!(refused(&platform, &token).await, Error::Algorithm);
        // The same signature under the algorithm that is accepted.
        header["alg"] = json!("EdDSA");
        let token = signed(&header, &claims, &key, Algorithm::HS256);
        assert_eq!(refused(&platform, &token).await, Error::Signature);
    }
}

#[tokio::test]
async fn a_key_speaks_for_its_own_name_only() {
    let platform = Platform::new();
    let now = SystemTime::now();
    let (mut header, mut claims) = service_parts(now);
    let task = platform.private("task");
    // Says that it is the orchestrator, signed by task.
    for claim in ["iss", "sub"] {
        claims[claim] = json!("saga");
    }
    header["kid"] = json!("saga");
    assert_eq!(
        refused(&platform, &forge(&header, &claims, &task)).await,
        Error::Signature
    );
    header["kid"] = json!("task");
    assert_eq!(
        refused(&platform, &forge(&header, &claims, &task)).await,
        Error::Issuer
    );
}

#[tokio::test]
async fn the_two_types_never_pass_for_each_other() {
    let platform = Platform::new();
    let now = SystemTime::now();
    let task = platform.private("task");
    let auth = platform.auth.to_pem().unwrap();
    let (access_header, access_claims) = access_parts(&platform, now);
    let (service_header, service_claims) = service_parts(now);
    // Claims of one under the header of the other.
    let token = forge(&service_header, &access_claims, &task);
    assert_eq!(refused(&platform, &token).await, Error::Issuer);
    let token = forge(&access_header, &service_claims, &auth);
    assert_eq!(refused(&platform, &token).await, Error::Malformed);
    // A service that makes itself an administrator.
    let mut header = access_header;
    header["kid"] = json!("task");
    let mut claims = access_claims;
    claims["role"] = json!("admin");
    let token = forge(&header, &claims, &task);
    assert_eq!(refused(&platform, &token).await, Error::UnknownKey);
}

#[tokio::test]
async fn a_name_that_is_a_path_is_an_unknown_key() {
    let platform = Platform::new();
    let (mut header, claims) = service_parts(SystemTime::now());
    for kid in ["../task", "/etc/passwd", "", "task\0", "TASK"] {
        header["kid"] = json!(kid);
        let token = forge(&header, &claims, &platform.private("task"));
        assert_eq!(refused(&platform, &token).await, Error::UnknownKey, "{kid:?}");
    }
}

/// One of each type, with who verifies them; shared, because a directory for each case would take long.
struct Good {
    runtime: tokio::runtime::Runtime,
    platform: Platform,
    tokens: [String; 2],
}

static GOOD: LazyLock<Good> = LazyLock::new(|| {
    let platform = Platform::new();
    let tokens = [platform.access(Role::Admin, 3).1, platform.service("task")];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    Good {
        runtime,
        platform,
        tokens,
    }
});

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn one_flipped_bit_is_refused(which in 0usize..2, place: prop::sample::Index, bit in 0u8..7) {
        let good = &*GOOD;
        let mut bytes = good.tokens[which].clone().into_bytes();
        let at = place.index(bytes.len());
        bytes[at] ^= 1 << bit;
        // Below the eighth bit it is ASCII still.
        let token = String::from_utf8(bytes).unwrap();
        let verifier = good.platform.verifier();
        prop_assert!(good.runtime.block_on(verifier.verify(&token)).is_err(), "{token}");
    }

    #[test]
    fn no_text_is_a_token(text in prop_oneof![".{0,120}", "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,90}"]) {
        let good = &*GOOD;
        let verifier = good.platform.verifier();
        prop_assert!(good.runtime.block_on(verifier.verify(&text)).is_err());
    }
}
