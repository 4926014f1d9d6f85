//! Answers of the provider that are lost, late, or lies.

use doubles::pay::{Behaviour, Operation, RefundState, Rule};
use proto::billing::v1 as pb;
use proto::saga::v1::SagaPhase;
use test_support::eventually;

use super::shop::{self, CHANNELS, Goods, PRICE, ask, becomes, ended, is_quiet, sell};
use crate::world::{DEADLINE, World};

fn losses() -> Vec<Rule> {
    let lost = |behaviour| Rule::once(Operation::Refund, behaviour);
    vec![
        lost(Behaviour::Hang),
        lost(Behaviour::Hang).with_effect(),
        lost(Behaviour::Status(503)),
        lost(Behaviour::Status(503)).with_effect(),
        lost(Behaviour::Cut),
        lost(Behaviour::Garbage),
        lost(Behaviour::Garbage).with_effect(),
        lost(Behaviour::Huge),
        lost(Behaviour::Redirect("http://127.0.0.1:9/".to_owned())),
        lost(Behaviour::Unsigned),
        lost(Behaviour::WrongKey),
    ]
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_under_the_same_number() {
    let world = World::new().await;
    for channel in CHANNELS {
        for rule in losses() {
            let sold = sell(&world, channel, Goods::default()).await;
            shop::program(&world, &sold, vec![rule.clone()]);
            let begun = ask(&world, &sold, 0, "r").await.unwrap();
            let refund = begun.refund.unwrap();
            assert_eq!(
                ended(&world, &refund.refund_id).await,
                SagaPhase::Completed,
                "{rule:?}"
            );
            let there = shop::there(&world, &sold);
            assert_eq!(there, [(refund.refund_no, RefundState::Succeeded)], "{rule:?}");
            assert_eq!(
                shop::payment(&world, &sold).await,
                ("REFUNDED".to_owned(), PRICE, 0)
            );
        }
    }
    is_quiet(&world).await;
}

#[tokio::test]
async fn a_query_that_says_nothing_is_repeated() {
    let world = World::new().await;
    for channel in CHANNELS {
        let sold = sell(&world, channel, Goods::default()).await;
        let rules = [
            Behaviour::Hang,
            Behaviour::Status(500),
            Behaviour::WrongKey,
            Behaviour::Garbage,
        ];
        let mut rules: Vec<_> = rules
            .map(|behaviour| Rule::once(Operation::QueryRefund, behaviour))
            .into();
        rules.push(Rule::once(
            Operation::Refund,
            Behaviour::RefundEnds {
                state: RefundState::Succeeded,
                after_ms: 100,
            },
        ));
        shop::program(&world, &sold, rules);
        let begun = ask(&world, &sold, 400, "r").await.unwrap();
        assert_eq!(
            ended(&world, &begun.refund.unwrap().refund_id).await,
            SagaPhase::Completed
        );
        assert_eq!(shop::payment(&world, &sold).await, ("SUCCESS".to_owned(), 400, 0));
    }
}

#[tokio::test]
async fn a_refusal_is_not_believed_where_an_earlier_call_was_taken() {
    let world = World::new().await;
    for (channel, code) in [
        ("wechat", "INVALID_REQUEST"),
        ("alipay", "ACQ.TRADE_STATUS_ERROR"),
    ] {
        let sold = sell(&world, channel, Goods::default()).await;
        let refused = Behaviour::Code {
            code: code.to_owned(),
            status: 400,
        };
        shop::program(
            &world,
            &sold,
            vec![
                Rule::once(Operation::Refund, Behaviour::Status(503)).with_effect(),
                Rule {
                    times: None,
                    ..Rule::once(Operation::Refund, refused)
                },
            ],
        );
        let begun = ask(&world, &sold, 0, "r").await.unwrap();
        assert_eq!(
            ended(&world, &begun.refund.unwrap().refund_id).await,
            SagaPhase::Completed
        );
        assert_eq!(shop::payment(&world, &sold).await.0, "REFUNDED");
    }
}

#[tokio::test]
async fn a_refund_that_arrives_while_its_refusal_is_checked_counts() {
    let world = World::new().await;
    let sold = sell(&world, "alipay", Goods::default()).await;
    let refused = Behaviour::Code {
        code: "ACQ.TRADE_STATUS_ERROR".to_owned(),
        status: 400,
    };
    // Unknown, refused, and only then taken: the one refusal after the doubt must not have ended it.
    shop::program(
        &world,
        &sold,
        vec![
            Rule::once(Operation::Refund, Behaviour::Status(503)),
            Rule::once(Operation::Refund, refused),
        ],
    );
    let begun = ask(&world, &sold, 0, "r").await.unwrap();
    assert_eq!(
        ended(&world, &begun.refund.unwrap().refund_id).await,
        SagaPhase::Completed
    );
}

#[tokio::test]
async fn another_amount_is_held_for_a_person() {
    let world = World::new().await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    shop::program(
        &world,
        &sold,
        vec![
            Rule {
                times: None,
                ..Rule::once(Operation::QueryRefund, Behaviour::WrongAmount)
            },
            // It would tell the right one, and may be faster.
            Rule::once(Operation::NotifyRefund, Behaviour::Lose),
        ],
    );
    let begun = ask(&world, &sold, 500, "r").await.unwrap();
    let refund_id = begun.refund.unwrap().refund_id;
    eventually(DEADLINE, async || !shop::cases(&world).await.is_empty()).await;
    assert_eq!(shop::cases(&world).await, ["AMOUNT_MISMATCH refund"]);
    becomes(&world, &refund_id, pb::RefundStatus::Processing).await;
    assert_eq!(
        shop::payment(&world, &sold).await,
        ("REFUNDING".to_owned(), 0, 500)
    );
    // Once the provider says what was asked for, it goes on.
    shop::program(&world, &sold, Vec::new());
    assert_eq!(ended(&world, &refund_id).await, SagaPhase::Completed);
    assert_eq!(shop::payment(&world, &sold).await, ("SUCCESS".to_owned(), 500, 0));
}

#[tokio::test]
async fn jobs_that_die_in_the_middle_leave_nothing_behind() {
    let mut world = World::new().await;
    for channel in CHANNELS {
        for effect in [true, false] {
            let sold = sell(&world, channel, Goods::default()).await;
            let mut rule = Rule::once(Operation::Refund, Behaviour::Hang);
            rule.effect = Some(effect);
            shop::program(&world, &sold, vec![rule]);
            let begun = ask(&world, &sold, 0, "r").await.unwrap();
            let refund = begun.refund.unwrap();
            // The call is under way: its lease is taken, and the double keeps its answer.
            eventually(DEADLINE, async || {
                let taken: i64 = world
                    .value("select count(*) from provider_checks where lease_token is not null")
                    .await;
                taken == 1
            })
            .await;
            world.kill_jobs().await;
            becomes(&world, &refund.refund_id, pb::RefundStatus::Processing).await;
            // The next process may have it when the lease has ended.
            sqlx::query("update provider_checks set lease_until = now() where lease_token is not null")
                .execute(&world.pool)
                .await
                .unwrap();
            world.run_jobs().await;
            assert_eq!(ended(&world, &refund.refund_id).await, SagaPhase::Completed);
            assert_eq!(
                shop::there(&world, &sold),
                [(refund.refund_no, RefundState::Succeeded)]
            );
        }
    }
    is_quiet(&world).await;
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_writes_nothing() {
    let mut world = World::quiet(crate::world::config()).await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    // Two processes ask at the same moment, because the first one's lease is ended under it.
    shop::program(
        &world,
        &sold,
        vec![Rule::times(2, Operation::Refund, Behaviour::Answer).delay_ms(300)],
    );
    world.run_jobs().await;
    world.run_jobs().await;
    let begun = ask(&world, &sold, 0, "r").await.unwrap();
    let refund = begun.refund.unwrap();
    eventually(DEADLINE, async || {
        let taken =
            sqlx::query("update provider_checks set lease_until = now() where lease_token is not null")
                .execute(&world.pool)
                .await
                .unwrap();
        taken.rows_affected() == 1
    })
    .await;
    assert_eq!(ended(&world, &refund.refund_id).await, SagaPhase::Completed);
    assert_eq!(shop::there(&world, &sold).len(), 1);
    assert_eq!(
        shop::payment(&world, &sold).await,
        ("REFUNDED".to_owned(), PRICE, 0)
    );
    is_quiet(&world).await;
}

#[tokio::test]
async fn a_refusal_that_comes_after_the_lease_ends_nothing() {
    let mut world = World::quiet(crate::world::config()).await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let refused = Behaviour::Code {
        code: "TRADE_ERROR".to_owned(),
        status: 403,
    };
    // The first worker is refused, and hears late that the provider does not know the number. Before that the second one,
    // which has the lease then, was heard.
    let slow = Behaviour::RefundEnds {
        state: RefundState::Succeeded,
        after_ms: 1_000,
    };
    shop::program(
        &world,
        &sold,
        vec![
            Rule::once(Operation::Refund, refused),
            Rule::once(Operation::Refund, slow),
            Rule::once(Operation::QueryRefund, Behaviour::Answer).delay_ms(500),
        ],
    );
    world.run_jobs().await;
    let begun = ask(&world, &sold, 0, "r").await.unwrap();
    let refund = begun.refund.unwrap();
    eventually(DEADLINE, async || {
        let left = shop::program_left(&world, &sold).await;
        left.contains(r#""on":"query_refund","times":0"#)
            .then_some(())
            .ok_or(left)
    })
    .await;
    sqlx::query("update provider_checks set lease_until = now()")
        .execute(&world.pool)
        .await
        .unwrap();
    assert_eq!(ended(&world, &refund.refund_id).await, SagaPhase::Completed);
    assert_eq!(
        shop::there(&world, &sold),
        [(refund.refund_no, RefundState::Succeeded)]
    );
    is_quiet(&world).await;
}

#[tokio::test]
async fn a_refund_that_its_provider_has_lost_is_asked_for_again() {
    let world = World::new().await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let lost = Behaviour::Code {
        code: "RESOURCE_NOT_EXISTS".to_owned(),
        status: 404,
    };
    shop::program(
        &world,
        &sold,
        vec![Rule::times(3, Operation::QueryRefund, lost.clone())],
    );
    let begun = ask(&world, &sold, 400, "part").await.unwrap();
    assert_eq!(
        ended(&world, &begun.refund.unwrap().refund_id).await,
        SagaPhase::Completed
    );
    // One that a person has to act on there is only asked about.
    let abnormal = Behaviour::RefundEnds {
        state: RefundState::Abnormal,
        after_ms: 0,
    };
    shop::program(&world, &sold, vec![Rule::once(Operation::Refund, abnormal)]);
    let begun = ask(&world, &sold, 0, "rest").await.unwrap();
    let refund = begun.refund.unwrap();
    becomes(&world, &refund.refund_id, pb::RefundStatus::Abnormal).await;
    shop::program(
        &world,
        &sold,
        vec![
            Rule::times(3, Operation::QueryRefund, lost),
            Rule::once(Operation::Refund, Behaviour::Status(500)),
        ],
    );
    eventually(DEADLINE, async || {
        let left = shop::program_left(&world, &sold).await;
        left.contains(r#""on":"query_refund","times":0"#)
            .then_some(())
            .ok_or(left)
    })
    .await;
    let left = shop::program_left(&world, &sold).await;
    assert!(left.contains(r#""on":"refund","times":1"#), "{left}");
    shop::end_there(&world, &sold, &refund.refund_no, "succeeded").await;
    assert_eq!(ended(&world, &refund.refund_id).await, SagaPhase::Completed);
    assert_eq!(
        shop::payment(&world, &sold).await,
        ("REFUNDED".to_owned(), PRICE, 0)
    );
}

#[tokio::test]
async fn what_was_taken_once_is_not_given_up_for_a_refusal() {
    let world = World::new().await;
    let sold = sell(&world, "wechat", Goods::default()).await;
    let says = |on, code: &str, status| {
        let code = code.to_owned();
        Rule::times(6, on, Behaviour::Code { code, status })
    };
    let open = Behaviour::RefundEnds {
        state: RefundState::Processing,
        after_ms: 0,
    };
    // It takes it, does not find it for a while, and refuses it meanwhile, since nothing of the payment is left.
    shop::program(
        &world,
        &sold,
        vec![
            Rule::once(Operation::Refund, open),
            says(Operation::QueryRefund, "RESOURCE_NOT_EXISTS", 404),
            says(Operation::Refund, "INVALID_REQUEST", 400),
        ],
    );
    let begun = ask(&world, &sold, 0, "r").await.unwrap();
    let refund = begun.refund.unwrap();
    eventually(DEADLINE, async || {
        let left = shop::program_left(&world, &sold).await;
        left.contains(r#""on":"query_refund","times":0"#)
            .then_some(())
            .ok_or(left)
    })
    .await;
    becomes(&world, &refund.refund_id, pb::RefundStatus::Processing).await;
    shop::end_there(&world, &sold, &refund.refund_no, "succeeded").await;
    assert_eq!(ended(&world, &refund.refund_id).await, SagaPhase::Completed);
    assert_eq!(
        shop::payment(&world, &sold).await,
        ("REFUNDED".to_owned(), PRICE, 0)
    );
}
