//! A provider that does not answer, a process that dies: money goes out once or not at all.

use std::time::Duration;

use doubles::pay::{Behaviour, Operation, Rule, TransferState};
use proto::billing::v1::{Channel, WithdrawalStatus};
use test_support::eventually;

use crate::earner::{Earner, assert_no_drift, program, transfers};
use crate::world::{DEADLINE, World, config};

/// Ends what waits for its recipient, once it does.
async fn accept(world: &World, channel: Channel, number: &str) {
    if channel == Channel::Wechat {
        eventually(DEADLINE, async || {
            world.wechat.end_transfer(number, TransferState::Succeeded)
        })
        .await;
    }
}

#[tokio::test]
async fn an_unknown_outcome_is_asked_for_until_it_is_known() {
    let world = World::new().await;
    let mut count = 0;
    for channel in [Channel::Wechat, Channel::Alipay] {
        for behaviour in [
            Behaviour::Status(503),
            Behaviour::Cut,
            Behaviour::Garbage,
            Behaviour::Huge,
            Behaviour::Unsigned,
            Behaviour::WrongKey,
            Behaviour::Hang,
        ] {
            for has_effect in [true, false] {
                let rule = Rule::once(Operation::Transfer, behaviour.clone());
                let rule = Rule {
                    effect: Some(has_effect),
                    ..rule
                };
                let query = Rule::once(Operation::QueryTransfer, behaviour.clone());
                program(&world, channel, vec![rule, query]);
                let earner = Earner::with(&world, 1_000).await;
                let asked = earner.withdraw(channel, 600).await;
                assert_eq!(
                    earner.commission().await.0,
                    400,
                    "it stays frozen, or is withdrawn"
                );
                if channel == Channel::Wechat {
                    // The page on which the recipient accepts is not lost with an answer.
                    eventually(DEADLINE, async || {
                        !earner.get(&asked.withdrawal_id).await.package.is_empty()
                    })
                    .await;
                }
                accept(&world, channel, &asked.withdrawal_no).await;
                earner
                    .until(&asked.withdrawal_id, WithdrawalStatus::Succeeded)
                    .await;
                earner.until_commission((400, 0, 600)).await;
                let sent = transfers(&world, channel).into_iter();
                let sent = sent.filter(|sent| sent.number == asked.withdrawal_no);
                assert_eq!(sent.count(), 1, "{behaviour:?}");
                count += 1;
            }
        }
        assert_eq!(transfers(&world, channel).len(), count);
        count = 0;
    }
    assert_no_drift(&world).await;
}

#[tokio::test]
async fn what_is_not_known_stays_frozen() {
    for rules in [
        vec![Rule {
            times: None,
            ..Rule::once(Operation::Transfer, Behaviour::Status(500))
        }],
        vec![
            Rule {
                times: None,
                ..Rule::once(Operation::Transfer, Behaviour::WrongKey)
            },
            Rule {
                times: None,
                ..Rule::once(Operation::QueryTransfer, Behaviour::WrongKey)
            },
        ],
    ] {
        let world = World::new().await;
        world.wechat.program(rules);
        let earner = Earner::with(&world, 1_000).await;
        let asked = earner.withdraw(Channel::Wechat, 600).await;
        asked_often(&world).await;
        let open = earner.get(&asked.withdrawal_id).await;
        assert_eq!(open.status(), WithdrawalStatus::Processing);
        assert_eq!(earner.commission().await, (400, 600, 0));
        world.wechat.program(Vec::new());
        accept(&world, Channel::Wechat, &asked.withdrawal_no).await;
        earner
            .until(&asked.withdrawal_id, WithdrawalStatus::Succeeded)
            .await;
        assert_eq!(transfers(&world, Channel::Wechat).len(), 1);
    }
}

#[tokio::test]
async fn a_refusal_after_a_lost_success_is_not_believed() {
    let world = World::quiet(config()).await;
    let earner = Earner::with(&world, 1_000).await;
    let asked = earner.withdraw(Channel::Alipay, 600).await;
    begun(&world).await;
    // Somebody has sent it and died before it was written down; the first call of the next one is refused.
    let refused = Behaviour::Code {
        code: "EXCEED_LIMIT_DM_AMOUNT".to_owned(),
        status: 400,
    };
    program(
        &world,
        Channel::Alipay,
        vec![Rule::once(Operation::Transfer, refused).with_effect()],
    );
    let mut world = world;
    world.run_jobs().await;
    earner
        .until(&asked.withdrawal_id, WithdrawalStatus::Succeeded)
        .await;
    earner.until_commission((400, 0, 600)).await;
    assert_eq!(transfers(&world, Channel::Alipay).len(), 1);
}

#[tokio::test]
async fn an_empty_merchant_account_fails_nobodys_withdrawal() {
    for (channel, code) in [
        (Channel::Wechat, "NOT_ENOUGH"),
        (Channel::Alipay, "PAYER_BALANCE_NOT_ENOUGH"),
    ] {
        let world = World::new().await;
        let no = Behaviour::Code {
            code: code.to_owned(),
            status: 403,
        };
        program(&world, channel, vec![Rule::times(3, Operation::Transfer, no)]);
        let earner = Earner::with(&world, 1_000).await;
        let asked = earner.withdraw(channel, 600).await;
        accept(&world, channel, &asked.withdrawal_no).await;
        earner
            .until(&asked.withdrawal_id, WithdrawalStatus::Succeeded)
            .await;
        assert_eq!(transfers(&world, channel).len(), 1);
    }
}

#[tokio::test]
async fn another_amount_at_the_provider_is_for_a_person() {
    let world = World::new().await;
    let wrong = Rule {
        times: None,
        ..Rule::once(Operation::QueryTransfer, Behaviour::WrongAmount)
    };
    let lost = Rule {
        times: None,
        ..Rule::once(Operation::NotifyTransfer, Behaviour::Lose)
    };
    world.wechat.program(vec![wrong, lost]);
    let earner = Earner::with(&world, 1_000).await;
    let asked = earner.withdraw(Channel::Wechat, 600).await;
    accept(&world, Channel::Wechat, &asked.withdrawal_no).await;
    let found = eventually(DEADLINE, async || {
        sqlx::query_as::<_, (String, String)>("select kind, number from cases")
            .fetch_optional(&world.pool)
            .await
            .unwrap()
    })
    .await;
    assert_eq!(found, ("AMOUNT_MISMATCH".to_owned(), asked.withdrawal_no.clone()));
    assert_eq!(earner.commission().await, (400, 600, 0));
    asked_often(&world).await;
    let cases: i64 = world.value("select count(*) from cases").await;
    assert_eq!(cases, 1, "a person is told once");
}

#[tokio::test]
async fn jobs_that_die_anywhere_send_once() {
    let mut world = World::quiet(config()).await;
    let slow = Rule {
        times: None,
        ..Rule::once(Operation::Transfer, Behaviour::Answer).delay_ms(40)
    };
    program(&world, Channel::Alipay, vec![slow]);
    let earner = Earner::with(&world, 1_000).await;
    let mut asked = Vec::new();
    for _ in 0..6 {
        asked.push(earner.withdraw(Channel::Alipay, 100).await);
    }
    for round in 1..=6 {
        world.run_jobs().await;
        // In the middle of a call: the effect is there, and nobody has written it down.
        let before = transfers(&world, Channel::Alipay).len();
        eventually(DEADLINE, async || {
            let sent = transfers(&world, Channel::Alipay).len();
            sent > before || sent == 6
        })
        .await;
        world.kill_jobs().await;
        // The lease of a dead worker would last a minute.
        sqlx::query("update provider_checks set lease_until = clock_timestamp() - interval '1 second' where lease_until is not null")
            .execute(&world.pool)
            .await
            .unwrap();
        assert!(transfers(&world, Channel::Alipay).len() <= 6, "round {round}");
    }
    world.run_jobs().await;
    world.run_jobs().await;
    for asked in &asked {
        earner
            .until(&asked.withdrawal_id, WithdrawalStatus::Succeeded)
            .await;
    }
    earner.until_commission((400, 0, 600)).await;
    assert_eq!(transfers(&world, Channel::Alipay).len(), 6);
    assert_no_drift(&world).await;
}

#[tokio::test]
async fn a_worker_that_lost_its_check_writes_nothing() {
    let mut world = World::quiet(config()).await;
    let slow = Rule::once(Operation::Transfer, Behaviour::Answer).delay_ms(300);
    program(&world, Channel::Alipay, vec![slow]);
    let earner = Earner::with(&world, 1_000).await;
    let asked = earner.withdraw(Channel::Alipay, 100).await;
    begun(&world).await;
    world.run_jobs().await;
    eventually(DEADLINE, async || !transfers(&world, Channel::Alipay).is_empty()).await;
    // Another process takes over for long.
    sqlx::query(
        "update provider_checks set lease_token = gen_random_uuid(), lease_until = clock_timestamp() + interval '1 hour'",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let books = transfers(&world, Channel::Alipay);
    assert_eq!(books.len(), 1);
    // Its answer has come when the next transfer is through.
    let other = Earner::with(&world, 1_000).await;
    let slower = Rule::once(Operation::Transfer, Behaviour::Answer).delay_ms(500);
    program(&world, Channel::Alipay, vec![slower]);
    let later = other.withdraw(Channel::Alipay, 100).await;
    other
        .until(&later.withdrawal_id, WithdrawalStatus::Succeeded)
        .await;
    let open = earner.get(&asked.withdrawal_id).await;
    assert_eq!(open.status(), WithdrawalStatus::Processing);
    assert_eq!(earner.commission().await, (900, 100, 0));
}

#[tokio::test]
async fn an_orchestrator_that_is_away_is_no_outcome() {
    let world = World::new().await;
    let earner = Earner::with(&world, 1_000).await;
    world.sagas.set_down(true);
    let wish = earner.wish(Channel::Alipay, 600);
    assert_eq!(
        crate::world::reason(earner.create(wish.clone()).await),
        "UNAVAILABLE"
    );
    assert_eq!(earner.commission().await, (1_000, 0, 0));
    world.sagas.set_down(false);
    let asked = earner.create(wish).await.unwrap().withdrawal.unwrap();
    earner
        .until(&asked.withdrawal_id, WithdrawalStatus::Succeeded)
        .await;
}

/// Waits until the step has made the transfer due.
async fn begun(world: &World) {
    eventually(DEADLINE, async || {
        world.value::<i64>("select count(*) from provider_checks").await > 0
    })
    .await;
}

/// Waits until the provider was asked several times in vain.
async fn asked_often(world: &World) {
    eventually(Duration::from_secs(30), async || {
        world
            .value::<Option<i32>>("select max(tries) from provider_checks")
            .await
            .is_some_and(|tries| tries >= 5)
    })
    .await;
}
