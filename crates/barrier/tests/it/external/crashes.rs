//! The participant is killed at each point where it waits for anything.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use rpc::step::StepCall;
use test_support::{Manner, Outside};

use super::{Shop, id_of, ms};
use crate::support::{action, reason};

/// Drives a future until it has waited `times` times and drops it there; `None` if so, else its result.
async fn killed_after<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut waited = 0;
    poll_fn(|context| match future.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending if waited == times => Poll::Ready(None),
        Poll::Pending => {
            waited += 1;
            Poll::Pending
        }
    })
    .await
}

/// More often than this a call does not wait: begin, three looks, commit, check, call, and the same again to record.
const MOST_WAITS: usize = 24;

/// Kills calls of as many sagas, each after it has waited once more. Returns their actions.
async fn kill_everywhere<'s, Fut: Future>(
    shop: &'s Shop,
    manner: Manner,
    prepare: impl AsyncFn(&'s Shop, &StepCall),
    call: impl Fn(&'s Shop, StepCall) -> Fut,
) -> Vec<StepCall> {
    let mut calls = Vec::new();
    let mut killed = 0;
    for waits in 0..MOST_WAITS {
        let action = action();
        prepare(shop, &action).await;
        shop.outside.programme(&id_of(&action), [manner]);
        // A statement that is answered at once is not waited for, so the same number is not the same place each time.
        let ended = killed_after(waits, call(shop, action.clone())).await;
        killed += usize::from(ended.is_none());
        calls.push(action);
    }
    // How often a call waits depends on the machine: on a busy one each statement may be answered before it is waited for.
    // Only a service that takes its time is always waited for.
    if let Manner::Slow(_) = manner {
        assert!(killed > 0, "none was killed");
    }
    calls
}

const MANNERS: [Manner; 4] = [
    Manner::Prompt,
    Manner::Slow(ms(20)),
    Manner::Late(ms(40)),
    Manner::Lost,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_killed_anywhere_has_one_effect_when_it_is_repeated() {
    let shop = Shop::new(Outside::forgetful()).await;
    for manner in MANNERS {
        let act = async |shop: &Shop, call: StepCall| shop.act(&call).await;
        let calls = kill_everywhere(&shop, manner, async |_, _| {}, act).await;
        let repeated = calls.iter().map(|call| shop.act_to_the_end(call));
        for (n, answer) in futures::future::join_all(repeated).await.iter().enumerate() {
            assert!(answer.is_ok(), "{manner:?}, killed at {n}: {answer:?}");
        }
        for (n, call) in calls.iter().enumerate() {
            shop.assert_balanced(call, true, &format!("{manner:?}, killed at {n}"))
                .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_action_killed_anywhere_leaves_nothing_when_it_is_compensated() {
    let shop = Shop::new(Outside::forgetful()).await;
    for manner in MANNERS {
        let act = async |shop: &Shop, call: StepCall| shop.act(&call).await;
        let calls = kill_everywhere(&shop, manner, async |_, _| {}, act).await;
        let undone = calls.iter().map(|call| shop.undo_to_the_end(call));
        for (n, answer) in futures::future::join_all(undone).await.iter().enumerate() {
            assert!(answer.is_ok(), "{manner:?}, killed at {n}: {answer:?}");
        }
        for (n, call) in calls.iter().enumerate() {
            shop.assert_balanced(call, false, &format!("{manner:?}, killed at {n}"))
                .await;
            if let Err(late) = shop.act(call).await {
                assert_eq!(reason(&late), "SUPERSEDED");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compensation_killed_anywhere_undoes_once_when_it_is_repeated() {
    let shop = Shop::new(Outside::forgetful()).await;
    for manner in MANNERS {
        let done = async |shop: &Shop, call: &StepCall| {
            shop.act(call).await.unwrap();
        };
        let undo = async |shop: &Shop, call: StepCall| shop.undo(&call).await;
        let calls = kill_everywhere(&shop, manner, done, undo).await;
        let repeated = calls.iter().map(|call| shop.undo_to_the_end(call));
        for (n, answer) in futures::future::join_all(repeated).await.iter().enumerate() {
            assert!(answer.is_ok(), "{manner:?}, killed at {n}: {answer:?}");
        }
        for (n, call) in calls.iter().enumerate() {
            shop.assert_balanced(call, false, &format!("{manner:?}, killed at {n}"))
                .await;
        }
    }
}
