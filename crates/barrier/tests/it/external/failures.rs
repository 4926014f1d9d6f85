use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use barrier::external::{self, Attempt, Claims, Effect, RequestId, Seen, Unknown};
use barrier::{Done, Stop};
use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPoolOptions;
use sqlx::{PgPool, Postgres};
use test_support::{Manner, Outside, eventually};

use super::{CLAIMS, Shop, id_of, ms, participant, waits};
use crate::support::{DEADLINE, DOMAIN, action, compensation_of};

#[tokio::test]
async fn a_lost_reply_is_looked_up_and_the_call_not_repeated() {
    let shop = Shop::new(Outside::forgetful()).await;
    let call = action();
    shop.outside.programme(&id_of(&call), [Manner::Lost]);
    shop.act(&call).await.unwrap_err();
    assert_eq!(shop.act_to_the_end(&call).await.unwrap(), 0, "looked up");
    assert_eq!(shop.entry(&call).asked, 1);
    shop.assert_balanced(&call, true, "lost").await;
}

#[tokio::test]
async fn a_late_effect_is_not_doubled() {
    let mut shop = Shop::new(Outside::forgetful()).await;
    shop.claims.grace = DEADLINE;
    let call = action();
    shop.outside.programme(&id_of(&call), [Manner::Late(ms(60))]);
    shop.act(&call).await.unwrap_err();
    assert_eq!(shop.act_to_the_end(&call).await.unwrap(), 0, "looked up");
    assert_eq!(shop.entry(&call).asked, 1);
}

#[tokio::test]
async fn a_doubled_request_is_one_effect_where_the_outside_knows_repeats() {
    let shop = Shop::new(Outside::knowing_repeats()).await;
    let call = action();
    shop.outside.programme(&id_of(&call), [Manner::Doubled]);
    shop.act(&call).await.unwrap();
    eventually(DEADLINE, || async { shop.entry(&call).asked == 2 }).await;
    shop.assert_balanced(&call, true, "doubled").await;
}

#[tokio::test]
async fn what_never_arrived_is_called_again_under_the_next_fence() {
    let shop = Shop::new(Outside::forgetful()).await;
    let call = action();
    shop.outside
        .programme(&id_of(&call), [Manner::Down, Manner::Down]);
    assert_eq!(shop.act_to_the_end(&call).await.unwrap(), 3);
    assert_eq!(shop.entry(&call).asked, 1);
    shop.assert_balanced(&call, true, "down twice").await;
}

#[tokio::test]
async fn a_call_is_cut_off_at_the_end_of_its_claim() {
    let shop = Shop::new(Outside::forgetful()).await;
    let call = action();
    shop.outside.programme(&id_of(&call), [Manner::Hanging]);
    let begun = tokio::time::Instant::now();
    shop.act(&call).await.unwrap_err();
    assert!(
        begun.elapsed() < DEADLINE,
        "it ends although the outside never answers"
    );
    assert_eq!(shop.act_to_the_end(&call).await.unwrap(), 0);
    assert_eq!(shop.entry(&call).asked, 1);
}

#[tokio::test]
async fn no_call_starts_when_the_claim_has_run_out() {
    let mut shop = Shop::new(Outside::forgetful()).await;
    // Less than a millisecond is left when it is checked, so every claim counts as run out.
    shop.claims = Claims {
        valid: ms(1),
        grace: ms(1),
        ask_again: ms(1),
    };
    let call = action();
    for _ in 0..20 {
        assert!(waits(&shop.act(&call).await.unwrap()));
    }
    assert_eq!(shop.entry(&call).asked, 0);
    assert!(shop.fence(&call, "action").await >= 1);
    shop.claims = CLAIMS;
    shop.act_to_the_end(&call).await.unwrap();
    shop.assert_balanced(&call, true, "later").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn simultaneous_calls_have_one_effect() {
    let shop = Shop::new(Outside::forgetful()).await;
    let call = action();
    shop.outside
        .programme(&id_of(&call), [Manner::Down, Manner::Slow(ms(30))]);
    let calls = (0..16).map(|_| shop.act_to_the_end(&call));
    for answer in futures::future::join_all(calls).await {
        assert!(answer.is_ok());
    }
    shop.assert_balanced(&call, true, "sixteen at once").await;
}

/// An outside that takes its time: it accepts, and is done when it has been asked three times.
struct Leisurely(AtomicU32);

impl Effect for Leisurely {
    type Reply = i64;
    type Undone = i64;

    async fn start(&self, _: Attempt<'_>) -> Result<Done<i64>, Stop> {
        Ok(Done::Pending { ask_again: ms(1) })
    }

    async fn query(&self, _: &RequestId) -> Result<Seen<i64, i64>, Unknown> {
        Ok(match self.0.fetch_add(1, Ordering::Relaxed) {
            0..3 => Seen::Running { ask_again: ms(1) },
            asked => Seen::Done(i64::from(asked)),
        })
    }

    async fn undo(&self, _: &RequestId, _: Attempt<'_>) -> Result<Done<i64>, Stop> {
        Ok(Done::Reply(-1))
    }
}

#[tokio::test]
async fn an_effect_that_was_accepted_is_asked_about_until_it_is_done() {
    let participant = participant().await;
    let pool = &participant.pool;
    for compensated in [false, true] {
        let effect = Leisurely(AtomicU32::new(0));
        let call = action();
        let begun = external::action(pool, &call, &7i64, DOMAIN, &CLAIMS, &effect).await;
        assert!(waits(&begun.unwrap()));
        let undo = compensation_of(&call);
        let last = eventually(DEADLINE, || async {
            super::finished(if compensated {
                external::compensation(pool, &undo, &7i64, DOMAIN, &CLAIMS, &effect).await
            } else {
                external::action(pool, &call, &7i64, DOMAIN, &CLAIMS, &effect).await
            })
        })
        .await;
        assert_eq!(last.unwrap(), if compensated { -1 } else { 3 });
    }
}

/// An outside that breaks its word: it says that it does not know what it has just done.
struct Forgetful {
    pool: PgPool,
    held: Mutex<Option<PoolConnection<Postgres>>>,
}

impl Effect for Forgetful {
    type Reply = i64;
    type Undone = i64;

    /// Succeeds, and keeps the only connection, so that the result cannot be recorded yet.
    async fn start(&self, _: Attempt<'_>) -> Result<Done<i64>, Stop> {
        let connection = self.pool.acquire().await?;
        *self.held.lock().unwrap() = Some(connection);
        Ok(Done::Reply(42))
    }

    async fn query(&self, _: &RequestId) -> Result<Seen<i64, i64>, Unknown> {
        Ok(Seen::Nothing)
    }

    async fn undo(&self, _: &RequestId, _: Attempt<'_>) -> Result<Done<i64>, Stop> {
        panic!("nothing is known that could be undone")
    }
}

#[tokio::test]
async fn a_success_after_the_saga_has_given_up_is_remembered_and_told() {
    let participant = participant().await;
    let narrow = PgPoolOptions::new()
        .max_connections(1)
        .connect_with((*participant.pool.connect_options()).clone())
        .await
        .unwrap();
    let effect = Forgetful {
        pool: narrow.clone(),
        held: Mutex::new(None),
    };
    let call = action();
    let undo = compensation_of(&call);
    let acting = external::action(&narrow, &call, &7i64, DOMAIN, &CLAIMS, &effect);
    let undoing = async {
        eventually(DEADLINE, || async { effect.held.lock().unwrap().is_some() }).await;
        let settled = eventually(DEADLINE, || async {
            let pool = &participant.pool;
            let answer = external::compensation(pool, &undo, &7i64, DOMAIN, &CLAIMS, &effect).await;
            super::finished(answer)
        })
        .await;
        assert_eq!(settled.unwrap(), 0);
        drop(effect.held.lock().unwrap().take());
    };
    let (acted, ()) = tokio::join!(acting, undoing);

    let answer = acted.unwrap();
    assert!(!rpc::step::is_stored(answer.metadata()));
    assert_eq!(answer.into_inner(), 42, "the orchestrator hears of it");
    let late: Option<Vec<u8>> = sqlx::query_scalar("select late_reply from barrier_claim")
        .fetch_one(&participant.pool)
        .await
        .unwrap();
    assert!(late.is_some(), "and it is written down");
}
