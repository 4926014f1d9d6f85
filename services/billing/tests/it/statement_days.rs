//! Which days are compared, when, and how they are listed.

use chrono::{Days, FixedOffset, TimeDelta, Utc};
use doubles::pay::{Behaviour, Operation, Rule};
use ids::DifferenceId;
use proto::billing::v1 as pb;
use proto::billing::v1::Channel;
use test_support::eventually;

use crate::bookkeeper::{There, at, import, ours, yesterday};
use crate::desk::desk;
use crate::world::{DEADLINE, config, reason};

const BOTH: [Channel; 2] = [Channel::Wechat, Channel::Alipay];

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
