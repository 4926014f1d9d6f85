//! What callers see of limits and of an SMS provider that does not serve.

use doubles::sms::Behaviour;
use proto::auth::v1 as pb;
use rstest::rstest;
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::support::{Auth, PASSWORD, Store, World, phone, reason};

impl Auth {
    async fn send_code(&self, phone: &str) -> Result<u32, Status> {
        let request = pb::SendSmsCodeRequest {
            phone: phone.to_owned(),
            ..pb::SendSmsCodeRequest::default()
        };
        let answer = self.auth.clone().send_sms_code(request).await?;
        Ok(answer.into_inner().resend_after_seconds)
    }
}

#[rstest]
#[case::postgres(Store::Postgres)]
#[case::redis(Store::Redis)]
#[tokio::test]
async fn who_guesses_passwords_has_to_wait_and_is_told_how_long(#[case] store: Store) {
    let world = World::with(store, |config| config.limits.login_phone_per_hour = 3).await;
    let phone = phone();
    // Counts as one, too.
    world.auth.register(&phone).await;
    for _ in 0..2 {
        assert_eq!(
            reason(world.auth.login(&phone, "wrong guess").await),
            "LOGIN_FAILED"
        );
    }
    let before = world.auth.passwords.computed();
    let status = world.auth.login(&phone, PASSWORD).await.unwrap_err();
    let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!((1..=3600).contains(&wait.as_secs()), "{wait:?}");
    assert_eq!(reason::<()>(Err(status)), "RATE_LIMITED");
    assert_eq!(
        world.auth.passwords.computed(),
        before,
        "nothing is computed for it"
    );
}

#[tokio::test]
async fn a_second_code_has_to_wait() {
    let world = World::new().await;
    let phone = phone();
    assert_eq!(world.auth.send_code(&phone).await.unwrap(), 60);
    let status = world.auth.send_code(&phone).await.unwrap_err();
    let wait = status.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!((1..=60).contains(&wait.as_secs()), "{wait:?}");
}

#[tokio::test]
async fn a_code_that_could_not_be_sent_is_said_so() {
    let world = World::new().await;
    for behaviour in [
        Behaviour::Status(503),
        Behaviour::Code("FailedOperation.SignatureIncorrectOrUnapproved".to_owned()),
    ] {
        world.auth.providers.sms.program(vec![behaviour]);
        assert_eq!(reason(world.auth.send_code(&phone()).await), "SMS_NOT_SENT");
    }
}

#[tokio::test]
async fn a_code_that_arrived_without_an_answer_is_good() {
    let world = World::new().await;
    let phone = phone();
    world.auth.providers.sms.program(vec![Behaviour::Cut]);
    assert_eq!(reason(world.auth.send_code(&phone).await), "SMS_NOT_SENT");
    let code = world.auth.providers.sms_code(&phone);
    world.auth.login_by_code(&phone, &code).await.unwrap();
}
