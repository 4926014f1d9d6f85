//! Codes by SMS.

use auth::limits::{Error, Purpose};
use auth::phone::Phone;
use futures::future::join_all;

use crate::parts::{Parts, Store, generous};

fn phone() -> Phone {
    Phone::parse("13800138000").unwrap()
}

fn another(code: &str) -> String {
    let number: u32 = code.parse().unwrap();
    format!("{:06}", (number + 1) % 1_000_000)
}

#[rstest::rstest]
#[tokio::test]
async fn a_code_is_good_once_for_its_number_and_purpose(
    #[values(Store::Redis, Store::Postgres)] store: Store,
) {
    let parts = Parts::new(store, generous()).await;
    let limits = &parts.limits;
    let made = limits.make_code(&phone(), Purpose::Login, "ip").await.unwrap();
    let other = Phone::parse("13900139000").unwrap();
    assert!(
        !limits
            .check_code(&other, Purpose::Login, &made.code)
            .await
            .unwrap()
    );
    assert!(
        !limits
            .check_code(&phone(), Purpose::ResetPassword, &made.code)
            .await
            .unwrap()
    );
    assert!(
        limits
            .check_code(&phone(), Purpose::Login, &made.code)
            .await
            .unwrap()
    );
    assert!(
        !limits
            .check_code(&phone(), Purpose::Login, &made.code)
            .await
            .unwrap()
    );
}

#[rstest::rstest]
#[tokio::test]
async fn of_many_right_answers_at_once_one_wins(#[values(Store::Redis, Store::Postgres)] store: Store) {
    let parts = Parts::new(store, generous()).await;
    let limits = &parts.limits;
    for _ in 0..5 {
        let other = Phone::parse("13900139000").unwrap();
        let made = limits.make_code(&other, Purpose::Register, "ip").await;
        let Ok(made) = made else { break };
        let other = &other;
        let answers = join_all((0..5).map(|_| limits.check_code(other, Purpose::Register, &made.code))).await;
        let won = answers
            .into_iter()
            .filter(|answer| *answer.as_ref().unwrap())
            .count();
        assert_eq!(won, 1);
    }
}

#[rstest::rstest]
#[tokio::test]
async fn five_wrong_answers_use_a_code_up_also_when_they_come_together(
    #[values(Store::Redis, Store::Postgres)] store: Store,
) {
    let parts = Parts::new(store, generous()).await;
    let limits = &parts.limits;
    let made = limits.make_code(&phone(), Purpose::Login, "ip").await.unwrap();
    let wrong = another(&made.code);
    let number = phone();
    let answers = join_all((0..5).map(|_| limits.check_code(&number, Purpose::Login, &wrong))).await;
    assert!(answers.into_iter().all(|answer| !answer.unwrap()));
    assert!(
        !limits
            .check_code(&number, Purpose::Login, &made.code)
            .await
            .unwrap()
    );
}

#[rstest::rstest]
#[tokio::test]
async fn four_wrong_answers_do_not_and_a_voided_code_is_worthless(
    #[values(Store::Redis, Store::Postgres)] store: Store,
) {
    let parts = Parts::new(store, generous()).await;
    let limits = &parts.limits;
    let made = limits.make_code(&phone(), Purpose::Login, "ip").await.unwrap();
    for _ in 0..4 {
        let wrong = another(&made.code);
        assert!(!limits.check_code(&phone(), Purpose::Login, &wrong).await.unwrap());
    }
    assert!(
        limits
            .check_code(&phone(), Purpose::Login, &made.code)
            .await
            .unwrap()
    );
    let other = Phone::parse("13900139000").unwrap();
    let made = limits.make_code(&other, Purpose::Login, "ip").await.unwrap();
    limits.void_code(&other, Purpose::Login).await.unwrap();
    assert!(
        !limits
            .check_code(&other, Purpose::Login, &made.code)
            .await
            .unwrap()
    );
}

#[rstest::rstest]
#[tokio::test]
async fn another_code_has_to_wait_for_the_cooldown(#[values(Store::Redis, Store::Postgres)] store: Store) {
    let parts = Parts::new(store, generous()).await;
    let limits = &parts.limits;
    limits.make_code(&phone(), Purpose::Login, "ip").await.unwrap();
    let again = limits
        .make_code(&phone(), Purpose::ResetPassword, "other ip")
        .await;
    let Err(Error::Limited { retry_after }) = again else {
        panic!("{again:?}");
    };
    assert!(
        (1..=60).contains(&retry_after.as_secs().max(1)),
        "{retry_after:?}"
    );
}
