use rpc::step::{self, Op, StepCall};
use test_support::{Manner, Outside};

use super::{Shop, id_of, waits};
use crate::support::{action, reason, row};

#[tokio::test]
async fn an_effect_happens_once_and_its_reply_is_stored() {
    let shop = Shop::new(Outside::forgetful()).await;
    let call = action();
    let first = shop.act(&call).await.unwrap();
    let second = shop.act(&call).await.unwrap();
    assert!(step::is_stored(first.metadata()) && step::is_stored(second.metadata()));
    assert_eq!((first.into_inner(), second.into_inner()), (1, 1));
    assert_eq!(shop.entry(&call).asked, 1);
    shop.assert_balanced(&call, true, "done").await;
}

#[tokio::test]
async fn a_done_effect_is_undone_once() {
    let shop = Shop::new(Outside::forgetful()).await;
    let call = action();
    shop.act(&call).await.unwrap();
    for _ in 0..2 {
        let undone = shop.undo(&call).await.unwrap();
        assert!(step::is_stored(undone.metadata()));
        assert_eq!(undone.into_inner(), 1);
    }
    shop.assert_balanced(&call, false, "undone").await;
    assert_eq!(shop.entry(&call).undone, 1);
    let repeated = shop.act(&call).await.unwrap();
    assert_eq!(repeated.into_inner(), 1, "what happened has happened");
}

#[tokio::test]
async fn a_compensation_without_a_claim_asks_nobody_and_keeps_the_action_out() {
    let shop = Shop::new(Outside::forgetful()).await;
    let call = action();
    let undone = shop.undo(&call).await.unwrap();
    assert!(step::is_stored(undone.metadata()));
    assert_eq!(reason(&shop.act(&call).await.unwrap_err()), "SUPERSEDED");
    assert_eq!(shop.outside.books().len(), 0);
    assert_eq!(
        shop.participant.rows().await,
        [row("action", "superseded"), row("compensation", "succeeded")]
    );
}

#[tokio::test]
async fn a_refusal_is_stored_and_has_nothing_to_undo() {
    let shop = Shop::new(Outside::forgetful()).await;
    let call = action();
    shop.outside.programme(&id_of(&call), [Manner::Refusing]);
    for _ in 0..2 {
        let status = shop.act(&call).await.unwrap_err();
        assert_eq!(reason(&status), "QUOTA_INSUFFICIENT");
        assert!(step::is_stored(status.metadata()));
    }
    shop.undo(&call).await.unwrap();
    shop.assert_balanced(&call, false, "refused").await;
}

#[tokio::test]
async fn a_no_from_what_cannot_be_refused_is_not_stored_and_heals() {
    let shop = Shop::new(Outside::forgetful()).await;
    let call = StepCall {
        refusable: false,
        ..action()
    };
    shop.outside.programme(&id_of(&call), [Manner::Refusing]);
    let status = shop.act(&call).await.unwrap_err();
    assert!(!step::is_stored(status.metadata()));
    assert_eq!(shop.act_to_the_end(&call).await.unwrap(), 2, "the second claim");
    shop.assert_balanced(&call, true, "healed").await;
}

#[tokio::test]
async fn another_request_under_the_same_key_is_a_mismatch() {
    let shop = Shop::new(Outside::forgetful()).await;
    let call = action();
    shop.act(&call).await.unwrap();
    let effect = super::Order {
        outside: &shop.outside,
    };
    let domain = crate::support::DOMAIN;
    let answer = barrier::external::action(shop.pool(), &call, &8i64, domain, &shop.claims, &effect).await;
    assert_eq!(reason(&answer.unwrap_err()), "BARRIER_MISMATCH");
}

#[tokio::test]
async fn the_method_of_an_action_does_not_answer_a_compensation() {
    let shop = Shop::new(Outside::forgetful()).await;
    let call = StepCall {
        op: Op::Compensation,
        ..action()
    };
    let status = shop.act(&call).await.unwrap_err();
    assert_eq!(reason(&status), "STEP_METADATA_INVALID");
    assert_eq!(shop.participant.rows().await, []);
}

#[tokio::test]
async fn a_running_effect_is_waited_for() {
    let shop = Shop::new(Outside::forgetful()).await;
    let call = action();
    shop.outside
        .programme(&id_of(&call), [Manner::Slow(super::ms(50))]);
    let (first, second) = tokio::join!(shop.act(&call), async {
        // Not before the first has its claim.
        test_support::eventually(crate::support::DEADLINE, || async {
            shop.fence(&call, "action").await == 1
        })
        .await;
        shop.act(&call).await
    });
    assert_eq!(first.unwrap().into_inner(), 1);
    let second = second.unwrap();
    assert!(waits(&second) || step::is_stored(second.metadata()));
    assert_eq!(shop.entry(&call).asked, 1);
}
