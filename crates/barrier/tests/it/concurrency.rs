use std::sync::Arc;

use barrier::{Done, Stop};
use tokio::sync::{Notify, oneshot};

use crate::support::{DOMAIN, Participant, action, add, compensation_of, reason, row};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn simultaneous_calls_run_the_work_once() {
    let participant = Arc::new(Participant::new().await);
    let call = action();
    let calls = (0..32).map(|_| {
        let (participant, call) = (Arc::clone(&participant), call.clone());
        tokio::spawn(async move { participant.bump(&call).await.unwrap().into_inner() })
    });
    for reply in futures::future::join_all(calls).await {
        assert_eq!(reply.unwrap(), 1);
    }
    assert_eq!(participant.count().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn actions_and_compensations_at_once_never_leave_an_effect() {
    let participant = Arc::new(Participant::new().await);
    let calls = (0..64).map(|n| {
        let participant = Arc::clone(&participant);
        tokio::spawn(async move {
            let call = action();
            let undo = compensation_of(&call);
            let act = async {
                barrier::run(&participant.pool, &call, &7i64, DOMAIN, async |conn, _| {
                    add(conn, &format!("done {n}")).await?;
                    Ok::<_, Stop>(Done::Reply(0i64))
                })
                .await
            };
            let undoing = async || {
                barrier::run(&participant.pool, &undo, &7i64, DOMAIN, async |conn, _| {
                    add(conn, &format!("undone {n}")).await?;
                    Ok::<_, Stop>(Done::Reply(0i64))
                })
                .await
                .unwrap()
            };
            let (acted, _, _) = tokio::join!(act, undoing(), undoing());
            if let Err(status) = acted {
                assert_eq!(reason(&status), "SUPERSEDED");
            }
            let done = participant.counter(&format!("done {n}")).await;
            let undone = participant.counter(&format!("undone {n}")).await;
            assert_eq!(done, undone);
        })
    });
    for task in futures::future::join_all(calls).await {
        task.unwrap();
    }
}

/// Starts the action and holds it inside its work. Returns what lets it go on, and its task.
async fn held_action(
    participant: &Arc<Participant>,
    call: &rpc::step::StepCall,
) -> (Arc<Notify>, tokio::task::JoinHandle<()>) {
    let go_on = Arc::new(Notify::new());
    let (inside, is_inside) = oneshot::channel();
    let task = tokio::spawn({
        let (participant, call, go_on) = (Arc::clone(participant), call.clone(), Arc::clone(&go_on));
        async move {
            let done = barrier::run(&participant.pool, &call, &7i64, DOMAIN, async |conn, _| {
                let value = add(conn, "work").await?;
                inside.send(()).unwrap();
                go_on.notified().await;
                Ok::<_, Stop>(Done::Reply(value))
            })
            .await;
            assert_eq!(done.unwrap().into_inner(), 1);
        }
    });
    is_inside.await.unwrap();
    (go_on, task)
}

#[tokio::test]
async fn a_compensation_waits_for_the_running_action() {
    let participant = Arc::new(Participant::new().await);
    let call = action();
    let (go_on, acting) = held_action(&participant, &call).await;
    let undoing = tokio::spawn({
        let (participant, undo) = (Arc::clone(&participant), compensation_of(&call));
        async move { participant.bump(&undo).await.unwrap().into_inner() }
    });
    participant.until_waiting(1).await;
    assert!(!undoing.is_finished());

    go_on.notify_one();
    acting.await.unwrap();
    assert_eq!(undoing.await.unwrap(), 2, "the action was done, so it was undone");
    assert_eq!(
        participant.rows().await,
        [row("action", "succeeded"), row("compensation", "succeeded")]
    );
}

#[tokio::test]
async fn a_call_that_is_dropped_half_way_leaves_nothing() {
    let participant = Arc::new(Participant::new().await);
    let call = action();
    let (_go_on, acting) = held_action(&participant, &call).await;
    let undoing = tokio::spawn({
        let (participant, undo) = (Arc::clone(&participant), compensation_of(&call));
        async move { participant.never(&undo).await.unwrap().into_inner() }
    });
    participant.until_waiting(1).await;

    acting.abort();
    assert!(acting.await.unwrap_err().is_cancelled());
    assert_eq!(undoing.await.unwrap(), 0, "there was nothing to undo");
    assert_eq!(participant.count().await, 0);
    assert_eq!(reason(&participant.never(&call).await.unwrap_err()), "SUPERSEDED");
}

#[tokio::test]
async fn a_repeat_waits_for_the_first_and_gets_its_reply() {
    let participant = Arc::new(Participant::new().await);
    let call = action();
    let (go_on, acting) = held_action(&participant, &call).await;
    let repeating = tokio::spawn({
        let (participant, call) = (Arc::clone(&participant), call.clone());
        async move { participant.never(&call).await.unwrap().into_inner() }
    });
    participant.until_waiting(1).await;
    go_on.notify_one();
    acting.await.unwrap();
    assert_eq!(repeating.await.unwrap(), 1);
}
