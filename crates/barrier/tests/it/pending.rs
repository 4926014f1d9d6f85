use std::time::Duration;

use barrier::{Again, Done, Stop};
use rpc::outcome::{Verdict, classify};
use rpc::step;

use crate::support::{DOMAIN, Participant, action, add, compensation_of, reason, refusal, row};

const ASK_AGAIN: Duration = Duration::from_millis(250);

fn pending() -> Done<i64> {
    Done::Pending { ask_again: ASK_AGAIN }
}

#[tokio::test]
async fn a_pending_answer_keeps_what_the_work_began() {
    let participant = Participant::new().await;
    let call = action();
    let answer = participant.answer(&call, Ok(pending())).await.unwrap();

    assert_eq!(step::pending(answer.metadata()), Some(ASK_AGAIN));
    assert!(!step::is_stored(answer.metadata()));
    assert_eq!(participant.count().await, 1);
    assert_eq!(participant.rows().await, [row("action", "pending")]);
}

#[tokio::test]
async fn a_pending_operation_is_looked_at_until_it_has_a_final_answer() {
    let participant = Participant::new().await;
    let call = action();
    let look = async |answer: Done<i64>| {
        barrier::run(&participant.pool, &call, &7i64, DOMAIN, async |conn, again| {
            add(conn, if again == Again(true) { "look" } else { "begin" }).await?;
            Ok::<_, Stop>(answer)
        })
        .await
        .unwrap()
    };
    look(pending()).await;
    look(pending()).await;
    let last = look(Done::Reply(42)).await;
    assert!(step::is_stored(last.metadata()));
    assert_eq!(last.into_inner(), 42);

    assert_eq!(participant.never(&call).await.unwrap().into_inner(), 42);
    assert_eq!(
        (
            participant.counter("begin").await,
            participant.counter("look").await
        ),
        (1, 2)
    );
}

#[tokio::test]
async fn a_pending_operation_can_end_refused() {
    let participant = Participant::new().await;
    let call = action();
    participant.answer(&call, Ok(pending())).await.unwrap();
    participant
        .answer(&call, Err(refusal().into()))
        .await
        .unwrap_err();
    let status = participant.never(&call).await.unwrap_err();

    assert_eq!(classify(&status, DOMAIN), Verdict::Refused { stored: true });
    assert_eq!(
        participant.count().await,
        1,
        "what was begun stays, the last look does not"
    );
}

#[tokio::test]
async fn a_failed_look_leaves_the_operation_pending() {
    let participant = Participant::new().await;
    let call = action();
    participant.answer(&call, Ok(pending())).await.unwrap();
    participant
        .answer(&call, Err(Stop::fail("lost")))
        .await
        .unwrap_err();
    assert_eq!(participant.rows().await, [row("action", "pending")]);
    assert_eq!(participant.count().await, 1);
}

#[tokio::test]
async fn a_compensated_pending_operation_is_superseded() {
    let participant = Participant::new().await;
    let call = action();
    participant.answer(&call, Ok(pending())).await.unwrap();
    participant.bump(&compensation_of(&call)).await.unwrap();

    assert_eq!(reason(&participant.never(&call).await.unwrap_err()), "SUPERSEDED");
    assert_eq!(participant.count().await, 2);
    assert_eq!(
        participant.rows().await,
        [row("action", "superseded"), row("compensation", "succeeded")]
    );
}

#[tokio::test]
async fn a_compensation_that_fails_leaves_the_operation_pending() {
    let participant = Participant::new().await;
    let call = action();
    participant.answer(&call, Ok(pending())).await.unwrap();
    participant
        .answer(&compensation_of(&call), Err(Stop::fail("lost")))
        .await
        .unwrap_err();
    assert_eq!(participant.rows().await, [row("action", "pending")]);
}

#[tokio::test]
async fn a_compensation_can_be_pending_as_well() {
    let participant = Participant::new().await;
    let call = action();
    participant.answer(&call, Ok(pending())).await.unwrap();
    let undo = compensation_of(&call);
    participant.answer(&undo, Ok(pending())).await.unwrap();
    assert_eq!(
        participant.rows().await,
        [row("action", "superseded"), row("compensation", "pending")]
    );
    assert_eq!(reason(&participant.never(&call).await.unwrap_err()), "SUPERSEDED");

    let last = participant.answer(&undo, Ok(Done::Reply(5))).await.unwrap();
    assert_eq!(last.into_inner(), 5);
    assert_eq!(participant.never(&undo).await.unwrap().into_inner(), 5);
    assert_eq!(participant.count().await, 3);
}
