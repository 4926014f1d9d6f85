//! How often something may be tried.

use auth::limits::{Config, Error, Purpose};
use auth::phone::Phone;
use ids::UserId;

use crate::parts::{Parts, Store, generous};

fn number(n: u32) -> Phone {
    Phone::parse(&format!("138{n:08}")).unwrap()
}

fn is_limited<T>(answer: &Result<T, Error>) -> bool {
    matches!(answer, Err(Error::Limited { retry_after }) if !retry_after.is_zero())
}

#[rstest::rstest]
#[tokio::test]
async fn each_window_is_counted_for_itself(#[values(Store::Redis, Store::Postgres)] store: Store) {
    let config = Config {
        login_pair_per_minute: 2,
        login_phone_per_hour: 3,
        login_ip_per_hour: 6,
        ..generous()
    };
    let parts = Parts::new(store, config).await;
    let limits = &parts.limits;
    // The pair is full after two.
    limits.login(&number(1), "a").await.unwrap();
    limits.login(&number(1), "a").await.unwrap();
    assert!(is_limited(&limits.login(&number(1), "a").await));
    // From elsewhere the number has one left.
    limits.login(&number(1), "b").await.unwrap();
    assert!(is_limited(&limits.login(&number(1), "c").await));
    // The address has four left, for any number, and a refused try was not counted.
    for n in 2..6 {
        limits.login(&number(n), "a").await.unwrap();
    }
    assert!(is_limited(&limits.login(&number(9), "a").await));
    assert!(is_limited(&limits.wechat("a").await));
    limits.wechat("d").await.unwrap();
}

#[rstest::rstest]
#[tokio::test]
async fn everybody_together_has_a_limit_too(#[values(Store::Redis, Store::Postgres)] store: Store) {
    let config = Config {
        login_all_per_minute: 3,
        codes_all_per_minute: 2,
        passwords_per_hour: 1,
        ..generous()
    };
    let parts = Parts::new(store, config).await;
    let limits = &parts.limits;
    for n in 0..3 {
        limits.login(&number(n), &n.to_string()).await.unwrap();
    }
    assert!(is_limited(&limits.register(&number(7), "7").await));
    for n in 0..2 {
        limits
            .make_code(&number(n), Purpose::Login, &n.to_string())
            .await
            .unwrap();
    }
    assert!(is_limited(
        &limits.make_code(&number(7), Purpose::Login, "7").await
    ));
    let user = UserId::new();
    limits.password(user).await.unwrap();
    assert!(is_limited(&limits.password(user).await));
    limits.password(UserId::new()).await.unwrap();
}

#[tokio::test]
async fn neither_numbers_nor_codes_are_in_the_store() {
    let parts = Parts::new(Store::Postgres, generous()).await;
    let made = parts
        .limits
        .make_code(&number(1), Purpose::Login, "ip")
        .await
        .unwrap();
    let key = kv::Key::new("code", &["+8613800000001", "login"]);
    assert_eq!(parts.kv.get(&key).await.unwrap(), None);
    assert!(!format!("{made:?}").contains(&made.code));
}
