//! Many sagas at once, each with calls, kills and an outside chosen by a seed.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use test_support::{Manner, Outside};
use tokio::time::{sleep, timeout};

use super::{Shop, id_of, ms};
use crate::support::action;

/// Seeds tried; `EVENKEEL_SEED` tries another range of them.
const SEEDS: u64 = 60;

fn manner(rng: &mut StdRng, knows_repeats: bool) -> Manner {
    match rng.random_range(0..9) {
        0 | 1 => Manner::Prompt,
        2 => Manner::Slow(ms(rng.random_range(1..80))),
        3 => Manner::Lost,
        4 => Manner::Hanging,
        5 => Manner::Late(ms(rng.random_range(1..80))),
        6 if knows_repeats => Manner::Doubled,
        6 | 7 => Manner::Down,
        _ => Manner::Refusing,
    }
}

/// A few calls that overlap, are killed and repeated; then the action or the compensation is called to its end.
async fn live(shop: &Shop, knows_repeats: bool, seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let call = action();
    let manners: Vec<Manner> = (0..rng.random_range(0..5))
        .map(|_| manner(&mut rng, knows_repeats))
        .collect();
    let context = format!("seed {seed}, {manners:?}");
    shop.outside.programme(&id_of(&call), manners);
    let compensates = rng.random_bool(0.6);

    let calls = (0..rng.random_range(1..7)).map(|_| {
        let begins = ms(rng.random_range(0..500));
        let patience = ms(rng.random_range(1..400));
        let undo = compensates && rng.random_bool(0.3);
        let (shop, call) = (&shop, &call);
        async move {
            sleep(begins).await;
            let calling = async {
                if undo {
                    drop(shop.undo(call).await);
                } else {
                    drop(shop.act(call).await);
                }
            };
            // Impatience kills the call wherever it is.
            drop(timeout(patience, calling).await);
        }
    });
    futures::future::join_all(calls).await;

    if compensates {
        // A "no" to an undoing is answered each time, so asking again is what an orchestrator does, too.
        let undone = async {
            while shop.undo_to_the_end(&call).await.is_err() {
                sleep(ms(20)).await;
            }
        };
        timeout(Duration::from_secs(60), undone)
            .await
            .unwrap_or_else(|_| panic!("{context}: not undone, {:?}", shop.entry(&call)));
        shop.assert_balanced(&call, false, &context).await;
        assert_eq!(shop.late(&call).await, None, "{context}");
    } else {
        let answer = shop.act_to_the_end(&call).await;
        shop.assert_balanced(&call, answer.is_ok(), &context).await;
    }
}

async fn all(outside: Outside, knows_repeats: bool) {
    let first = std::env::var("EVENKEEL_SEED").ok().and_then(|s| s.parse().ok());
    let first: u64 = first.unwrap_or(0);
    let shop = Shop::new(outside).await;
    let lives = (first..first + SEEDS).map(|seed| live(&shop, knows_repeats, seed));
    futures::future::join_all(lives).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_seed_doubles_an_effect_or_leaves_one_behind() {
    all(Outside::forgetful(), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_seed_does_so_where_the_outside_knows_repeats() {
    all(Outside::knowing_repeats(), true).await;
}
