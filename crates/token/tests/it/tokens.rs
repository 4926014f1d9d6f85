//! Good tokens, and for how long they are good.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::Value;
use token::{Caller, Error, Role, Verifier};
use tonic::service::Interceptor as _;

use crate::support::{Platform, name};

/// Life of a service token and its leeway.
const LIFE: Duration = Duration::from_secs(5 * 60 + 30);

fn authorization(bearer: &mut token::Bearer, request: tonic::Request<()>) -> String {
    let request = bearer.call(request).unwrap();
    let header = request.metadata().get("authorization").unwrap();
    header.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_users_token_says_who_in_which_session_with_which_rights() {
    let platform = Platform::new();
    let (user_id, text) = platform.access(Role::Admin, 7);
    let Caller::User(user) = platform.verifier().verify(&text).await.unwrap() else {
        panic!("not a user");
    };
    assert_eq!(user.user_id, user_id);
    assert_eq!(
        (&*user.session_id, user.role, user.epoch),
        ("s-1", Role::Admin, 7)
    );
}

#[tokio::test]
async fn an_independent_library_reads_our_tokens() {
    let platform = Platform::new();
    let (user_id, text) = platform.access(Role::User, 0);
    let key = DecodingKey::from_ed_components(&platform.auth.jwk().x).unwrap();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_audience(&["evenkeel"]);
    validation.set_issuer(&["evenkeel"]);
    let read = jsonwebtoken::decode::<Value>(&text, &key, &validation).unwrap();
    assert_eq!(read.claims["sub"], user_id.to_string());
    assert_eq!(read.header.typ.as_deref(), Some("at+jwt"));
    assert_eq!(read.header.kid.as_deref(), Some(platform.auth.kid()));
}

#[tokio::test]
async fn what_is_remembered_does_not_outlive_the_token() {
    let platform = Platform::new();
    let verifier = platform.verifier();
    let now = SystemTime::now();
    let text = platform.credentials("task").token(&name("quota"), now);
    let verify = async |verifier: &Verifier, at| verifier.verify_at(&text, at).await;
    assert!(verify(&verifier, now).await.is_ok());
    let last = now + LIFE - Duration::from_secs(2);
    assert!(verify(&verifier, last).await.is_ok());
    assert_eq!(verify(&verifier, now + LIFE).await, Err(Error::Expired));
    // Neither remembered nor as if seen for the first time.
    assert_eq!(verify(&verifier, now + LIFE).await, Err(Error::Expired));
    assert_eq!(
        verify(&platform.verifier(), now + LIFE).await,
        Err(Error::Expired)
    );
}

#[tokio::test]
async fn a_clock_that_is_half_a_minute_behind_still_agrees() {
    let platform = Platform::new();
    let now = SystemTime::now();
    let text = platform.credentials("task").token(&name("quota"), now);
    let behind = |seconds| now - Duration::from_secs(seconds);
    assert!(platform.verifier().verify_at(&text, behind(29)).await.is_ok());
    assert_eq!(
        platform.verifier().verify_at(&text, behind(32)).await,
        Err(Error::NotYetValid)
    );
}

#[tokio::test]
async fn a_service_token_is_made_anew_when_four_fifths_of_its_life_are_over() {
    let platform = Platform::new();
    let bearer = platform.credentials("task").bearer(name("quota"));
    let now = SystemTime::now();
    let at = |seconds| bearer.header(now + Duration::from_secs(seconds));
    assert_eq!(at(0), at(239));
    assert_ne!(at(0), at(241));
    let renewed = at(241);
    // A clock that was set back: the token would be from the future.
    assert_ne!(renewed, at(100));
    let texts: HashSet<_> = [at(100), at(101)].into_iter().collect();
    assert_eq!(texts.len(), 1);
}

#[tokio::test]
async fn a_users_token_that_is_passed_on_stays() {
    let platform = Platform::new();
    let mut bearer = platform.credentials("task").bearer(name("quota"));
    let own = authorization(&mut bearer, tonic::Request::new(()));
    let text = own.strip_prefix("Bearer ").unwrap();
    assert!(platform.verifier().verify(text).await.unwrap().is_service("task"));
    let mut forwarded = tonic::Request::new(());
    forwarded
        .metadata_mut()
        .insert("authorization", "Bearer of-a-user".parse().unwrap());
    assert_eq!(authorization(&mut bearer, forwarded), "Bearer of-a-user");
}
