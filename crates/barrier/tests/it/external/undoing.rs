use rpc::step;
use test_support::{Manner, Outside, eventually};

use super::{CLAIMS, Order, Shop, id_of, ms, waits};
use crate::support::{DEADLINE, DOMAIN, action, compensation_of, reason, row};

#[tokio::test]
async fn a_live_claim_is_closed_waited_for_and_undone() {
    let mut shop = Shop::new(Outside::forgetful()).await;
    shop.claims.valid = ms(1_500);
    let call = action();
    shop.outside.programme(&id_of(&call), [Manner::Hanging]);
    let (acted, ()) = tokio::join!(shop.act(&call), async {
        eventually(DEADLINE, || async { shop.entry(&call).done == 1 }).await;
        assert!(waits(&shop.undo(&call).await.unwrap()));
        assert_eq!(
            reason(&shop.act(&call).await.unwrap_err()),
            "SUPERSEDED",
            "closed"
        );
    });
    acted.unwrap_err();
    shop.undo_to_the_end(&call).await.unwrap();
    shop.assert_balanced(&call, false, "closed").await;
    assert_eq!(shop.entry(&call).undone, 1);
    assert_eq!(shop.late(&call).await, None);
}

#[tokio::test]
async fn a_worker_that_finishes_after_the_compensation_came_is_superseded() {
    let mut shop = Shop::new(Outside::forgetful()).await;
    shop.claims.valid = DEADLINE;
    let call = action();
    shop.outside.programme(&id_of(&call), [Manner::Held]);
    let (acted, ()) = tokio::join!(shop.act(&call), async {
        eventually(DEADLINE, || async { shop.fence(&call, "action").await == 1 }).await;
        assert!(waits(&shop.undo(&call).await.unwrap()));
        shop.outside.release();
    });
    assert_eq!(reason(&acted.unwrap_err()), "SUPERSEDED");
    assert!(shop.late(&call).await.is_some(), "known until it is undone");
    shop.undo_to_the_end(&call).await.unwrap();
    assert_eq!(shop.late(&call).await, None);
    shop.assert_balanced(&call, false, "undone").await;
}

#[tokio::test]
async fn an_effect_that_comes_late_is_found_and_undone() {
    let shop = Shop::new(Outside::forgetful()).await;
    let call = action();
    shop.outside.programme(&id_of(&call), [Manner::Late(ms(60))]);
    shop.act(&call).await.unwrap_err();
    shop.undo_to_the_end(&call).await.unwrap();
    shop.assert_balanced(&call, false, "late").await;
    assert_eq!((shop.entry(&call).done, shop.entry(&call).undone), (1, 1));
}

#[tokio::test]
async fn a_call_that_never_arrived_leaves_nothing_to_undo() {
    let shop = Shop::new(Outside::forgetful()).await;
    let call = action();
    shop.outside.programme(&id_of(&call), [Manner::Down]);
    shop.act(&call).await.unwrap_err();
    assert_eq!(shop.undo_to_the_end(&call).await.unwrap(), 0);
    assert_eq!(shop.fence(&call, "compensation").await, 0, "nothing was called");
    assert_eq!(
        shop.participant.rows().await,
        [row("action", "superseded"), row("compensation", "succeeded")]
    );
}

#[tokio::test]
async fn undoing_is_as_careful_as_doing() {
    for manner in [
        Manner::Lost,
        Manner::Late(ms(60)),
        Manner::Hanging,
        Manner::Down,
        Manner::Slow(ms(60)),
    ] {
        let shop = Shop::new(Outside::forgetful()).await;
        let call = action();
        shop.act(&call).await.unwrap();
        shop.outside.programme(&id_of(&call), [manner]);
        shop.undo_to_the_end(&call).await.unwrap();
        shop.assert_balanced(&call, false, &format!("{manner:?}")).await;
        assert_eq!(shop.entry(&call).undone, 1, "{manner:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_undone_is_answered_not_stored_and_heals() {
    let shop = Shop::new(Outside::forgetful()).await;
    let call = action();
    // The reply is lost, so that the success is only found when it is to be undone.
    shop.outside
        .programme(&id_of(&call), [Manner::Lost, Manner::Refusing]);
    shop.act(&call).await.unwrap_err();
    let status = shop.undo_to_the_end(&call).await.unwrap_err();
    assert_eq!(reason(&status), "QUOTA_INSUFFICIENT");
    assert!(!step::is_stored(status.metadata()));
    assert!(
        shop.late(&call).await.is_some(),
        "an effect stands that should not"
    );

    shop.undo_to_the_end(&call).await.unwrap();
    assert_eq!(shop.late(&call).await, None);
    shop.assert_balanced(&call, false, "healed").await;
}

#[tokio::test]
async fn compensations_at_once_undo_once() {
    let shop = Shop::new(Outside::forgetful()).await;
    let call = action();
    shop.act(&call).await.unwrap();
    let undoing = (0..16).map(|_| shop.undo_to_the_end(&call));
    for answer in futures::future::join_all(undoing).await {
        assert!(answer.is_ok());
    }
    shop.assert_balanced(&call, false, "sixteen at once").await;
    assert_eq!(shop.entry(&call).undone, 1);
}

/// An outside for which undoing an unknown id forbids it.
#[derive(Debug)]
struct Forbidding<'a>(Order<'a>);

impl barrier::external::Effect for Forbidding<'_> {
    type Reply = i64;
    type Undone = i64;
    const UNDO_FORBIDS: bool = true;

    async fn start(
        &self,
        attempt: barrier::external::Attempt<'_>,
    ) -> Result<barrier::Done<i64>, barrier::Stop> {
        self.0.start(attempt).await
    }

    async fn query(
        &self,
        id: &barrier::external::RequestId,
    ) -> Result<barrier::external::Seen<i64, i64>, barrier::external::Unknown> {
        self.0.query(id).await
    }

    async fn undo(
        &self,
        id: &barrier::external::RequestId,
        attempt: barrier::external::Attempt<'_>,
    ) -> Result<barrier::Done<i64>, barrier::Stop> {
        self.0.undo(id, attempt).await
    }
}

#[tokio::test]
async fn where_undoing_forbids_even_a_very_late_request_has_no_effect() {
    let shop = Shop::new(Outside::forbidding()).await;
    let call = action();
    let much_later = CLAIMS.valid + CLAIMS.grace * 3;
    shop.outside.programme(&id_of(&call), [Manner::Late(much_later)]);
    shop.act(&call).await.unwrap_err();
    let effect = Forbidding(Order {
        outside: &shop.outside,
    });
    let undo = compensation_of(&call);
    eventually(DEADLINE, || async {
        let claims = &shop.claims;
        let answer =
            barrier::external::compensation(shop.pool(), &undo, &7i64, DOMAIN, claims, &effect).await;
        super::finished(answer)
    })
    .await
    .unwrap();
    eventually(DEADLINE, || async { shop.entry(&call).asked == 1 }).await;
    shop.assert_balanced(&call, false, "forbidden").await;
}
