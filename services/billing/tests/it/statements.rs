//! A provider's statement is compared with our books, line by line.

use chrono::Days;
use doubles::pay::{Behaviour, Operation, Rule};
use proto::billing::v1 as pb;
use proto::billing::v1::{Channel, DifferenceKind};

use crate::bookkeeper::{There, at, differences, import, keys, minor, our_refund, ours, yesterday};
use crate::desk::desk;
use crate::world::{config, reason};

const BOTH: [Channel; 2] = [Channel::Wechat, Channel::Alipay];

#[tokio::test]
async fn books_that_agree_have_no_differences() {
    let day = yesterday();
    let there = There::default()
        .paid("PAY000001", 100, at(day, 0))
        .paid("PAY000002", 250, at(day, 23))
        .refunded("REF000001", "PAY000002", 250, at(day, 23))
        .paid("PAY000003", 9, at(day - Days::new(1), 12));
    let world = there.world(config()).await;
    for channel in ["wechat", "alipay"] {
        // A number is one of a channel: both have the same here.
        ours(&world, channel, "PAY000001", 100, "SUCCESS", at(day, 0)).await;
    }
    let refunded = ours(&world, "wechat", "PAY000002", 250, "REFUNDED", at(day, 22)).await;
    our_refund(&world, refunded, "REF000001", 250, "SUCCEEDED", at(day, 23)).await;
    let statement = import(&world, Channel::Wechat, day).await.unwrap();
    assert_eq!((statement.lines, statement.differences), (3, 0));
    let sums = (minor(statement.paid.as_ref()), minor(statement.refunded.as_ref()));
    assert_eq!(sums, (Some(350), Some(250)));
    // The other channel's are not ours there.
    let statement = import(&world, Channel::Alipay, day).await.unwrap();
    assert_eq!((statement.lines, statement.differences), (3, 2));
    assert_eq!(
        keys(&differences(&world, Channel::Alipay).await),
        [
            ("PAY000002", DifferenceKind::MissingHere),
            ("REF000001", DifferenceKind::MissingHere)
        ]
    );
}

#[tokio::test]
async fn each_class_of_difference_is_found() {
    let day = yesterday();
    for (channel, name) in BOTH.into_iter().zip(["wechat", "alipay"]) {
        let there = There::default()
            .paid("PAY000001", 100, at(day, 9))
            .paid("PAY000002", 200, at(day, 9))
            .paid("PAY000003", 300, at(day, 9))
            .paid("PAY000004", 400, at(day, 9))
            .refunded("REF000001", "PAY000001", 10, at(day, 10))
            .refunded("REF000002", "PAY000001", 20, at(day, 10))
            .refunded("REF000003", "PAY000001", 30, at(day, 10));
        let world = there.world(config()).await;
        let paid = ours(&world, name, "PAY000001", 100, "SUCCESS", at(day, 9)).await;
        ours(&world, name, "PAY000002", 201, "SUCCESS", at(day, 9)).await;
        ours(&world, name, "PAY000003", 300, "CLOSED", at(day, 9)).await;
        ours(&world, name, "PAY000005", 500, "SUCCESS", at(day, 9)).await;
        ours(&world, name, "PAY000006", 600, "PENDING", at(day, 9)).await;
        our_refund(&world, paid, "REF000001", 11, "SUCCEEDED", at(day, 10)).await;
        our_refund(&world, paid, "REF000002", 20, "FAILED", at(day, 10)).await;
        our_refund(&world, paid, "REF000004", 40, "SUCCEEDED", at(day, 10)).await;
        let statement = import(&world, channel, day).await.unwrap();
        assert_eq!(
            (statement.lines, statement.differences, statement.open_differences),
            (7, 8, 8)
        );
        let found = differences(&world, channel).await;
        assert_eq!(
            keys(&found),
            [
                ("PAY000002", DifferenceKind::Amount),
                ("PAY000003", DifferenceKind::Status),
                ("PAY000004", DifferenceKind::MissingHere),
                ("PAY000005", DifferenceKind::MissingThere),
                ("REF000001", DifferenceKind::Amount),
                ("REF000002", DifferenceKind::Status),
                ("REF000003", DifferenceKind::MissingHere),
                ("REF000004", DifferenceKind::MissingThere),
            ]
        );
        let sums: Vec<_> = found
            .values()
            .map(|found| (minor(found.ours.as_ref()), minor(found.theirs.as_ref())))
            .collect();
        assert_eq!(sums[0], (Some(201), Some(200)));
        assert_eq!(sums[2..4], [(None, Some(400)), (Some(500), None)]);
        let subjects: Vec<_> = found.values().map(|found| found.subject.as_str()).collect();
        assert_eq!(subjects[3..5], ["payment", "refund"]);
    }
}

#[tokio::test]
async fn a_repeated_import_drops_what_is_settled_and_keeps_what_was_explained() {
    let day = yesterday();
    let there = There::default()
        .paid("PAY000001", 100, at(day, 9))
        .paid("PAY000002", 200, at(day, 9))
        .paid("PAY000003", 300, at(day, 9));
    let world = there.world(config()).await;
    ours(&world, "wechat", "PAY000001", 101, "SUCCESS", at(day, 9)).await;
    let statement = import(&world, Channel::Wechat, day).await.unwrap();
    assert_eq!(statement.open_differences, 3);
    let amount = ("PAY000001".to_owned(), DifferenceKind::Amount);
    let request = pb::ResolveDifferenceRequest {
        difference_id: differences(&world, Channel::Wechat).await[&amount]
            .difference_id
            .clone(),
        note: "a coupon of the provider".to_owned(),
    };
    let mut named = tonic::Request::new(request.clone());
    let actor = "bob@desk".parse().unwrap();
    named.metadata_mut().insert(rpc::step::ACTOR_HEADER, actor);
    let answer = desk(&world).resolve_difference(named).await.unwrap();
    let resolved = answer.into_inner().difference.unwrap();
    assert_eq!(
        (resolved.resolved_by.as_str(), resolved.note.as_str()),
        ("bob@desk", "a coupon of the provider")
    );
    assert_eq!(
        reason(desk(&world).resolve_difference(request).await),
        "CASE_RESOLVED"
    );

    sqlx::query("update payments set amount = 102")
        .execute(&world.pool)
        .await
        .unwrap();
    ours(&world, "wechat", "PAY000002", 200, "SUCCESS", at(day, 9)).await;
    ours(&world, "wechat", "PAY000003", 333, "SUCCESS", at(day, 9)).await;
    for _ in 0..2 {
        let statement = import(&world, Channel::Wechat, day).await.unwrap();
        assert_eq!((statement.differences, statement.open_differences), (2, 1));
        let after = differences(&world, Channel::Wechat).await;
        assert_eq!(
            keys(&after),
            [
                ("PAY000001", DifferenceKind::Amount),
                ("PAY000003", DifferenceKind::Amount)
            ]
        );
        assert_eq!(after[&amount], resolved, "as it was explained");
    }
    // What was explained stays, even if it is no difference any more.
    sqlx::query("update payments set amount = 100 where channel_order_no = 'PAY000001'")
        .execute(&world.pool)
        .await
        .unwrap();
    let statement = import(&world, Channel::Wechat, day).await.unwrap();
    assert_eq!((statement.differences, statement.open_differences), (2, 1));
    let open = desk(&world)
        .list_differences(pb::ListDifferencesRequest::default())
        .await;
    assert_eq!(open.unwrap().into_inner().differences.len(), 1);
}

#[tokio::test]
async fn what_stays_different_stays_the_same_difference() {
    let day = yesterday();
    let world = There::default()
        .paid("PAY000001", 100, at(day, 9))
        .world(config())
        .await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let all = (0..3).map(|_| import(&world, Channel::Alipay, day));
        for statement in futures::future::join_all(all).await {
            assert_eq!(statement.unwrap().differences, 1);
        }
        let found = differences(&world, Channel::Alipay).await;
        ids.extend(found.into_values().map(|found| found.difference_id));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn a_statement_that_is_not_made_so_far_is_not_compared() {
    let day = yesterday();
    let world = There::default()
        .paid("PAY000001", 100, at(day, 9))
        .world(config())
        .await;
    ours(&world, "alipay", "PAY000009", 100, "SUCCESS", at(day, 9)).await;
    for (on, code) in [
        (Operation::Bill, "STATEMENT_CREATING"),
        (Operation::Bill, "NO_STATEMENT_EXIST"),
    ] {
        let no = Behaviour::Code {
            code: code.to_owned(),
            status: 400,
        };
        world.wechat.program(vec![Rule::once(on, no)]);
        if code == "NO_STATEMENT_EXIST" {
            // We have a payment of that day: that nothing happened cannot be.
            ours(&world, "wechat", "PAY000001", 100, "SUCCESS", at(day, 9)).await;
        }
        assert_eq!(
            reason(import(&world, Channel::Wechat, day).await),
            "STATEMENT_NOT_READY"
        );
    }
    for behaviour in [Behaviour::Status(500), Behaviour::WrongKey, Behaviour::Garbage] {
        world
            .wechat
            .program(vec![Rule::once(Operation::Bill, behaviour.clone())]);
        world.alipay.program(vec![Rule::once(Operation::Bill, behaviour)]);
        for channel in BOTH {
            assert_eq!(reason(import(&world, channel, day).await), "UNAVAILABLE");
        }
    }
    let none: i64 = world.value("select count(*) from statements").await;
    assert_eq!(none, 0);
    assert_eq!(import(&world, Channel::Wechat, day).await.unwrap().differences, 0);
}

#[tokio::test]
async fn a_day_without_anything_is_a_statement_without_lines() {
    let day = yesterday();
    let world = There::default().world(config()).await;
    let statement = import(&world, Channel::Wechat, day).await.unwrap();
    assert_eq!((statement.lines, statement.differences), (0, 0));
    // An older statement is made: what we have and it does not is missing there.
    let older = day - Days::new(3);
    ours(&world, "wechat", "PAY000001", 100, "SUCCESS", at(older, 9)).await;
    let statement = import(&world, Channel::Wechat, older).await.unwrap();
    assert_eq!((statement.lines, statement.differences), (0, 1));
}

#[tokio::test]
async fn a_refund_under_way_at_midnight_may_be_in_either_statement() {
    let day = yesterday() - Days::new(1);
    let there = There::default()
        .paid("PAY000001", 100, at(day, 9))
        .paid("PAY000002", 100, at(day + Days::new(1), 9))
        .refunded("REF000001", "PAY000001", 50, at(day, 23));
    let world = there.world(config()).await;
    let paid = ours(&world, "wechat", "PAY000001", 100, "SUCCESS", at(day, 9)).await;
    ours(
        &world,
        "wechat",
        "PAY000002",
        100,
        "SUCCESS",
        at(day + Days::new(1), 9),
    )
    .await;
    // Asked for at 23:30, arrived at 0:30.
    our_refund(
        &world,
        paid,
        "REF000001",
        50,
        "SUCCEEDED",
        at(day + Days::new(1), 0),
    )
    .await;
    for day in [day, day + Days::new(1)] {
        assert_eq!(import(&world, Channel::Wechat, day).await.unwrap().differences, 0);
    }
}
