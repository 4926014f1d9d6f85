use barrier::{Guard, guard};
use rpc::outcome::{Verdict, classify};
use rpc::step;

use crate::support::{DOMAIN, Participant, action, bump, compensation_of, reason, refusal, row};

#[tokio::test]
async fn a_done_action_is_undone_once() {
    let participant = Participant::new().await;
    let call = action();
    participant.bump(&call).await.unwrap();
    let undo = compensation_of(&call);
    let first = participant.bump(&undo).await.unwrap();
    let second = participant.never(&undo).await.unwrap();

    assert!(step::is_stored(second.metadata()));
    assert_eq!((first.into_inner(), second.into_inner()), (2, 2));
    assert_eq!(participant.count().await, 2);
}

#[tokio::test]
async fn a_compensation_without_an_action_does_nothing_and_keeps_the_action_out() {
    let participant = Participant::new().await;
    let call = action();
    let undo = compensation_of(&call);
    let answer = participant.never(&undo).await.unwrap();
    assert!(step::is_stored(answer.metadata()));
    assert_eq!(answer.into_inner(), 0);
    assert_eq!(participant.never(&undo).await.unwrap().into_inner(), 0);

    let status = participant.never(&call).await.unwrap_err();
    assert_eq!(reason(&status), "SUPERSEDED");
    assert_eq!(classify(&status, DOMAIN), Verdict::Superseded);
    assert_eq!(
        participant.rows().await,
        [row("action", "superseded"), row("compensation", "succeeded")]
    );
}

#[tokio::test]
async fn a_refused_action_has_nothing_to_undo() {
    let participant = Participant::new().await;
    let call = action();
    participant
        .answer(&call, Err(refusal().into()))
        .await
        .unwrap_err();
    participant.never(&compensation_of(&call)).await.unwrap();

    let status = participant.never(&call).await.unwrap_err();
    assert_eq!(classify(&status, DOMAIN), Verdict::Refused { stored: true });
}

#[tokio::test]
async fn a_compensation_is_never_refused_for_good() {
    let participant = Participant::new().await;
    let call = action();
    participant.bump(&call).await.unwrap();
    let mut undo = compensation_of(&call);
    undo.refusable = true;
    let status = participant
        .answer(&undo, Err(refusal().into()))
        .await
        .unwrap_err();

    assert!(!step::is_stored(status.metadata()));
    assert_eq!(participant.rows().await, [row("action", "succeeded")]);
    assert_eq!(participant.bump(&undo).await.unwrap().into_inner(), 2);
}

#[tokio::test]
async fn a_compensation_with_another_request_is_a_mismatch() {
    let participant = Participant::new().await;
    let call = action();
    participant.bump(&call).await.unwrap();
    let undo = compensation_of(&call);
    participant.bump(&undo).await.unwrap();
    let status = bump(&participant.pool, &undo, 8).await.unwrap_err();
    assert_eq!(reason(&status), "BARRIER_MISMATCH");
}

#[tokio::test]
async fn the_guard_tells_whether_an_action_is_wanted() {
    let participant = Participant::new().await;
    let call = action();
    let mut conn = participant.pool.acquire().await.unwrap();
    let mut ask = async || {
        guard(&mut conn, call.saga_id, &call.step, call.index)
            .await
            .unwrap()
    };

    assert_eq!(ask().await, Guard::Absent);
    let pending = barrier::Done::Pending {
        ask_again: std::time::Duration::from_millis(50),
    };
    participant.answer(&call, Ok(pending)).await.unwrap();
    assert_eq!(ask().await, Guard::Wanted);
    participant.bump(&compensation_of(&call)).await.unwrap();
    assert_eq!(ask().await, Guard::Superseded);
    let absent = guard(&mut conn, call.saga_id, &call.step, u32::MAX)
        .await
        .unwrap();
    assert_eq!(absent, Guard::Absent);
}
