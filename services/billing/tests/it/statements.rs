//! A provider's statement is compared with our books, line by line.

use std::collections::BTreeMap;

use chrono::{DateTime, Days, FixedOffset, NaiveDate, TimeDelta, Utc};
use doubles::pay::{Behaviour, Books, Operation, Order, OrderState, Refund, RefundState, Rule};
use ids::{DifferenceId, OrderId, PaymentId, RefundId, SagaId, UserId};
use proto::billing::v1 as pb;
use proto::billing::v1::{Channel, DifferenceKind};
use test_support::eventually;
use tonic::Status;

use crate::desk::desk;
use crate::world::{DEADLINE, World, config, reason};

const BOTH: [Channel; 2] = [Channel::Wechat, Channel::Alipay];

/// The day before today in Beijing.
fn yesterday() -> NaiveDate {
    let beijing = FixedOffset::east_opt(8 * 3600).unwrap();
    (Utc::now().with_timezone(&beijing) - TimeDelta::days(1)).date_naive()
}

/// A moment of a day in Beijing.
fn at(day: NaiveDate, hour: u32) -> DateTime<Utc> {
    let beijing = FixedOffset::east_opt(8 * 3600).unwrap();
    let local = day.and_hms_opt(hour, 30, 0).unwrap();
    local.and_local_timezone(beijing).unwrap().with_timezone(&Utc)
}

/// What the provider has: payments and refunds of them.
#[derive(Default)]
struct There(Books);

impl There {
    fn paid(mut self, number: &str, amount: i64, paid_at: DateTime<Utc>) -> Self {
        let order = Order {
            number: number.to_owned(),
            provider_no: format!("42{number}"),
            amount_minor: amount,
            subject: "a plan".to_owned(),
            notify_url: String::new(),
            code: number.to_owned(),
            created_at: paid_at,
            expires_at: paid_at,
            scanned: true,
            state: OrderState::Paid,
            paid_at: Some(paid_at),
            fee_minor: 1,
        };
        self.0.orders.insert(number.to_owned(), order);
        self
    }

    fn refunded(mut self, number: &str, order: &str, amount: i64, at: DateTime<Utc>) -> Self {
        let refund = Refund {
            number: number.to_owned(),
            order: order.to_owned(),
            provider_no: format!("50{number}"),
            amount_minor: amount,
            notify_url: String::new(),
            state: RefundState::Succeeded,
            created_at: at,
            ended_at: Some(at),
        };
        self.0.refunds.insert(number.to_owned(), refund);
        self
    }

    /// A world in which both providers have this.
    async fn world(self, config: billing::Config) -> World {
        let world = World::with_books(config, self.0.clone(), self.0).await;
        sqlx::raw_sql(
            "begin;
             insert into plans (id, version, on_sale) values ('p', 1, true);
             insert into plan_versions (plan_id, version, kind, title, description, amount, currency, quota, quota_days,
                 membership_days, needs_device) values ('p', 1, 'TOP_UP', 't', 'd', 1, 'CNY', 1, 0, 0, false);
             commit",
        )
        .execute(&world.pool)
        .await
        .unwrap();
        world
    }
}

/// Writes a payment of ours.
async fn ours(
    world: &World,
    channel: &str,
    number: &str,
    amount: i64,
    status: &str,
    paid_at: DateTime<Utc>,
) -> PaymentId {
    let (order_id, user_id, id) = (OrderId::new(), UserId::new(), PaymentId::new());
    sqlx::query(
        "insert into orders (id, order_number, user_id, plan_id, plan_version, amount, final_amount, currency, saga_id, expires_at)
         values ($1, $2, $3, 'p', 1, $4, $4, 'CNY', $5, now())",
    )
    .bind(order_id.uuid())
    .bind(order_id.to_string())
    .bind(user_id.uuid())
    .bind(amount)
    .bind(SagaId::new().uuid())
    .execute(&world.pool)
    .await
    .unwrap();
    sqlx::query(
        "insert into payments (id, payment_no, order_id, user_id, channel, channel_order_no, amount, currency, status,
             refunded_amount, reason, saga_id, expires_at, paid_at)
         values ($1, $10, $2, $3, $4, $5, $6, 'CNY', $7, case when $7 = 'REFUNDED' then $6 else 0 end,
             case when $7 in ('CLOSED', 'FAILED') then 'x' end, $8, now(),
             case when $7 in ('SUCCESS', 'REFUNDED') then $9 end)",
    )
    .bind(id.uuid())
    .bind(order_id.uuid())
    .bind(user_id.uuid())
    .bind(channel)
    .bind(number)
    .bind(amount)
    .bind(status)
    .bind(SagaId::new().uuid())
    .bind(paid_at)
    .bind(id.to_string())
    .execute(&world.pool)
    .await
    .unwrap();
    id
}

/// Writes a refund of ours that took an hour.
async fn our_refund(
    world: &World,
    payment: PaymentId,
    number: &str,
    amount: i64,
    status: &str,
    ended_at: DateTime<Utc>,
) {
    sqlx::query(
        "insert into refunds (id, refund_no, payment_id, order_id, user_id, amount, currency, status, cause, reason,
             requested_by, error, saga_id, created_at, ended_at)
         select $1, $2, id, order_id, user_id, $4, 'CNY', $5, 'REQUESTED', 'r', 'u',
             case when $5 in ('FAILED', 'CLOSED', 'ABNORMAL') then 'x' end, $6, $7 - interval '1 hour',
             case when $5 in ('SUCCEEDED', 'FAILED', 'CLOSED') then $7 end
         from payments where id = $3",
    )
    .bind(RefundId::new().uuid())
    .bind(number)
    .bind(payment.uuid())
    .bind(amount)
    .bind(status)
    .bind(SagaId::new().uuid())
    .bind(ended_at)
    .execute(&world.pool)
    .await
    .unwrap();
}

async fn import(world: &World, channel: Channel, day: NaiveDate) -> Result<pb::Statement, Status> {
    let request = pb::ImportStatementRequest {
        channel: channel.into(),
        day: day.to_string(),
    };
    let answer = desk(world).import_statement(request).await?;
    Ok(answer.into_inner().statement.unwrap())
}

/// What a channel's differences are, by number.
async fn differences(world: &World, channel: Channel) -> BTreeMap<(String, DifferenceKind), pb::Difference> {
    let request = pb::ListDifferencesRequest {
        channel: channel.into(),
        include_resolved: true,
        ..pb::ListDifferencesRequest::default()
    };
    let answer = desk(world).list_differences(request).await.unwrap().into_inner();
    let all = answer.differences.into_iter();
    all.map(|found| ((found.number.clone(), found.kind()), found))
        .collect()
}

fn keys(found: &BTreeMap<(String, DifferenceKind), pb::Difference>) -> Vec<(&str, DifferenceKind)> {
    found
        .keys()
        .map(|(number, kind)| (number.as_str(), *kind))
        .collect()
}

fn minor(money: Option<&pb::Money>) -> Option<i64> {
    money.map(|money| money.amount_minor)
}

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
    let statement = import(&world, Channel::Wechat, day).await.unwrap();
    assert_eq!(statement.open_differences, 3);
    let before = differences(&world, Channel::Wechat).await;
    let missing = |number: &str| (number.to_owned(), DifferenceKind::MissingHere);
    let explained = &before[&missing("PAY000001")];
    let request = pb::ResolveDifferenceRequest {
        difference_id: explained.difference_id.clone(),
        note: "another shop of the same merchant".to_owned(),
    };
    let mut named = tonic::Request::new(request.clone());
    let actor = "bob@desk".parse().unwrap();
    named.metadata_mut().insert(rpc::step::ACTOR_HEADER, actor);
    let resolved = desk(&world)
        .resolve_difference(named)
        .await
        .unwrap()
        .into_inner()
        .difference
        .unwrap();
    assert_eq!(
        (resolved.resolved_by.as_str(), resolved.note.as_str()),
        ("bob@desk", "another shop of the same merchant")
    );
    assert_eq!(
        reason(desk(&world).resolve_difference(request).await),
        "CASE_RESOLVED"
    );

    ours(&world, "wechat", "PAY000002", 200, "SUCCESS", at(day, 9)).await;
    ours(&world, "wechat", "PAY000003", 333, "SUCCESS", at(day, 9)).await;
    for _ in 0..2 {
        let statement = import(&world, Channel::Wechat, day).await.unwrap();
        assert_eq!((statement.differences, statement.open_differences), (2, 1));
        let after = differences(&world, Channel::Wechat).await;
        assert_eq!(
            keys(&after),
            [
                ("PAY000001", DifferenceKind::MissingHere),
                ("PAY000003", DifferenceKind::Amount)
            ]
        );
        assert_eq!(after[&missing("PAY000001")], resolved);
    }
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

#[tokio::test]
async fn a_large_statement_is_compared_in_parts() {
    let day = yesterday();
    let mut there = There::default();
    for number in 0..1_203 {
        there = there.paid(&format!("PAY{number:06}"), 100, at(day, 9));
    }
    let world = there.world(config()).await;
    ours(&world, "wechat", "PAY000000", 100, "SUCCESS", at(day, 9)).await;
    sqlx::query(
        "insert into payments (id, payment_no, order_id, user_id, channel, channel_order_no, amount, currency, status,
             late, saga_id, expires_at, paid_at)
         select gen_random_uuid(), 'N' || n, p.order_id, p.user_id, 'wechat', 'PAY9' || lpad(n::text, 5, '0'), 100, 'CNY',
             'SUCCESS', true, p.saga_id, now(), p.paid_at
         from payments p, generate_series(1, 1102) n",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let statement = import(&world, Channel::Wechat, day).await.unwrap();
    assert_eq!((statement.lines, statement.differences), (1_203, 1_202 + 1_102));
    let (mut seen, mut page_token) = (0, String::new());
    loop {
        let request = pb::ListDifferencesRequest {
            page_size: 500,
            page_token,
            ..Default::default()
        };
        let answer = desk(&world).list_differences(request).await.unwrap().into_inner();
        seen += answer.differences.len();
        page_token = answer.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert_eq!(seen, 2_304);
}

#[tokio::test]
async fn days_that_have_no_statement_are_refused() {
    let world = There::default().world(config()).await;
    let today = yesterday() + Days::new(1);
    for day in [today, today + Days::new(1), today - Days::new(91)] {
        assert_eq!(
            reason(import(&world, Channel::Wechat, day).await),
            "INVALID_ARGUMENT"
        );
    }
    for (channel, day) in [
        (1, ""),
        (1, "2026-02-30"),
        (1, "yesterday"),
        (0, "2026-11-01"),
        (9, "2026-11-01"),
    ] {
        let request = pb::ImportStatementRequest {
            channel,
            day: day.to_owned(),
        };
        assert_eq!(
            reason(desk(&world).import_statement(request).await),
            "INVALID_ARGUMENT"
        );
    }
    let request = pb::ResolveDifferenceRequest {
        difference_id: DifferenceId::new().to_string(),
        note: "x".to_owned(),
    };
    assert_eq!(
        reason(desk(&world).resolve_difference(request).await),
        "DIFFERENCE_NOT_FOUND"
    );
}

#[tokio::test]
async fn the_daily_job_imports_each_channel_once() {
    let beijing = FixedOffset::east_opt(8 * 3600).unwrap();
    // Yesterday, or the day before as long as it is not ten o'clock in Beijing.
    let day = (Utc::now().with_timezone(&beijing) - TimeDelta::hours(34)).date_naive();
    let mut daily = config();
    daily.import_statements = true;
    let there = There::default().paid("PAY000001", 100, at(day, 9));
    let mut world = there.world(daily).await;
    world.wechat.program(vec![Rule {
        times: None,
        ..Rule::once(Operation::Bill, Behaviour::Status(500))
    }]);
    world.run_jobs().await;
    eventually(DEADLINE, async || {
        world
            .value::<i64>("select count(*) from statements where channel = 'alipay'")
            .await
            == 1
    })
    .await;
    // One that fails is tried again, and keeps no other from it.
    world.kill_jobs().await;
    world.wechat.program(Vec::new());
    world.run_jobs().await;
    world.run_jobs().await;
    let list = pb::ListStatementsRequest::default();
    let found = eventually(DEADLINE, async || {
        let answer = desk(&world)
            .list_statements(list.clone())
            .await
            .unwrap()
            .into_inner();
        (answer.statements.len() == 2).then_some(answer.statements)
    })
    .await;
    for statement in found {
        assert_eq!(
            (statement.day, statement.lines, statement.open_differences),
            (day.to_string(), 1, 1)
        );
    }
}

#[tokio::test]
async fn statements_are_listed_newest_day_first() {
    let world = There::default().world(config()).await;
    for back in [2, 0, 1] {
        for channel in BOTH {
            import(&world, channel, yesterday() - Days::new(back))
                .await
                .unwrap();
        }
    }
    let list = async |channel: i32, page_token: String| {
        let request = pb::ListStatementsRequest {
            channel,
            page_size: 4,
            page_token,
        };
        desk(&world).list_statements(request).await.unwrap().into_inner()
    };
    let first = list(0, String::new()).await;
    let second = list(0, first.next_page_token.clone()).await;
    let days: Vec<_> = first
        .statements
        .iter()
        .chain(&second.statements)
        .map(|found| found.day.clone())
        .collect();
    let wanted: Vec<_> = [0, 0, 1, 1, 2, 2]
        .map(|back| (yesterday() - Days::new(back)).to_string())
        .into();
    assert_eq!(days, wanted);
    assert_eq!(list(1, String::new()).await.statements.len(), 3);
}
