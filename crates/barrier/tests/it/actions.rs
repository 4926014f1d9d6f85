use barrier::{Done, RefusalCode, Stop};
use rpc::outcome::{Verdict, classify};
use rpc::step;

use crate::support::{DOMAIN, Participant, action, bump, reason, refusal, row};

#[tokio::test]
async fn a_repeated_call_gets_the_stored_reply_and_does_nothing() {
    let participant = Participant::new().await;
    let mut call = action();
    let first = participant.bump(&call).await.unwrap();
    call.attempt = 2;
    call.epoch = 9;
    let second = participant.never(&call).await.unwrap();

    assert!(step::is_stored(first.metadata()) && step::is_stored(second.metadata()));
    assert_eq!((first.into_inner(), second.into_inner()), (1, 1));
    assert_eq!(participant.count().await, 1);
}

#[tokio::test]
async fn another_step_or_index_is_another_operation() {
    let participant = Participant::new().await;
    let call = action();
    let mut other_index = call.clone();
    other_index.index = 1;
    let mut other_step = call.clone();
    other_step.step = "BUMP_2".to_owned();
    for call in [&call, &other_index, &other_step] {
        participant.bump(call).await.unwrap();
    }
    assert_eq!(participant.count().await, 3);
}

#[tokio::test]
async fn another_request_under_the_same_key_is_a_mismatch() {
    let participant = Participant::new().await;
    let call = action();
    participant.bump(&call).await.unwrap();
    let status = bump(&participant.pool, &call, 8).await.unwrap_err();

    assert_eq!(reason(&status), "BARRIER_MISMATCH");
    assert_eq!(classify(&status, DOMAIN), Verdict::Unknown);
    assert_eq!(participant.count().await, 1);
}

#[tokio::test]
async fn a_refusal_is_stored_and_its_work_undone() {
    let participant = Participant::new().await;
    let call = action();
    let first = participant
        .answer(&call, Err(refusal().into()))
        .await
        .unwrap_err();
    let second = participant.never(&call).await.unwrap_err();

    for status in [&first, &second] {
        assert_eq!(classify(status, DOMAIN), Verdict::Refused { stored: true });
        assert_eq!(status.message(), "3 wanted, 1 available");
        let info = rpc::error::info(status).unwrap();
        assert_eq!(info.reason, "QUOTA_INSUFFICIENT");
        assert_eq!(info.metadata["available"], "1");
    }
    assert_eq!(first.code(), second.code());
    assert_eq!(participant.count().await, 0);
    assert_eq!(participant.rows().await, [row("action", "refused")]);
}

#[tokio::test]
async fn a_refusal_after_a_failed_statement_is_stored_too() {
    let participant = Participant::new().await;
    let call = action();
    let status = barrier::run(&participant.pool, &call, &7i64, DOMAIN, async |conn, _| {
        let broken = sqlx::query("select 1 / 0").execute(conn).await;
        assert!(broken.is_err());
        Err::<Done<i64>, _>(Stop::Refuse(refusal()))
    })
    .await
    .unwrap_err();
    assert_eq!(classify(&status, DOMAIN), Verdict::Refused { stored: true });
    assert_eq!(participant.rows().await, [row("action", "refused")]);
}

#[tokio::test]
async fn a_no_that_nobody_can_act_on_is_answered_but_not_stored() {
    let participant = Participant::new().await;
    let mut call = action();
    call.refusable = false;
    let status = participant
        .answer(&call, Err(refusal().into()))
        .await
        .unwrap_err();

    assert_eq!(classify(&status, DOMAIN), Verdict::Refused { stored: false });
    assert_eq!(participant.rows().await, []);
    assert_eq!(participant.bump(&call).await.unwrap().into_inner(), 1);
}

#[tokio::test]
async fn a_failure_leaves_nothing_and_says_unknown() {
    let participant = Participant::new().await;
    let call = action();
    let lost = Stop::from(sqlx::Error::PoolTimedOut);
    let status = participant.answer(&call, Err(lost)).await.unwrap_err();
    assert_eq!(reason(&status), "UNAVAILABLE");
    assert_eq!(classify(&status, DOMAIN), Verdict::Unknown);

    let defect = Stop::fail("the counter is out of paper");
    let status = participant.answer(&call, Err(defect)).await.unwrap_err();
    assert_eq!(reason(&status), "INTERNAL");
    assert!(!status.message().contains("paper"), "internals leak: {status}");

    assert_eq!(participant.rows().await, []);
    assert_eq!(participant.count().await, 0);
}

#[tokio::test]
async fn no_database_is_unavailable() {
    let participant = Participant::new().await;
    participant.pool.close().await;
    let status = participant.bump(&action()).await.unwrap_err();
    assert_eq!(reason(&status), "UNAVAILABLE");
}

#[tokio::test]
async fn an_index_that_does_not_fit_is_refused() {
    let participant = Participant::new().await;
    let mut call = action();
    call.index = u32::MAX;
    let status = participant.bump(&call).await.unwrap_err();
    assert_eq!(reason(&status), "STEP_METADATA_INVALID");
}

#[tokio::test]
async fn a_damaged_row_is_a_failure_and_not_an_answer() {
    let participant = Participant::new().await;
    let call = action();
    participant.bump(&call).await.unwrap();
    sqlx::query("update barrier set reply = '\\xff'")
        .execute(&participant.pool)
        .await
        .unwrap();
    let status = participant.never(&call).await.unwrap_err();
    assert_eq!(reason(&status), "INTERNAL");
}

#[tokio::test]
async fn a_reason_of_the_participants_own_is_a_refusal_too() {
    let participant = Participant::new().await;
    let call = action();
    let no = Stop::refuse_as(
        RefusalCode::FailedPrecondition,
        "OUT_OF_STOCK",
        "3 wanted, 1 left",
    );
    let first = participant.answer(&call, Err(no)).await.unwrap_err();
    let again = participant.never(&call).await.unwrap_err();
    for status in [first, again] {
        assert_eq!(reason(&status), "OUT_OF_STOCK");
        assert_eq!(classify(&status, DOMAIN), Verdict::Refused { stored: true });
    }
}
