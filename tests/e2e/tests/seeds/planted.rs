//! Defects that are planted: what looks for them has to find each, and nothing else.

use std::sync::Arc;

use doubles::pay::{Books, Options, Order, OrderState};
use doubles::wechatpay;
use e2e::{Billing, LONG, PRICE};
use ids::UserId;
use proto::billing::v1::{Channel, OrderStatus};
use test_support::eventually;

use crate::replay::{fingerprint, quiet};
use crate::rest;
use crate::world::{CASE_AFTER, Stage, World};

/// Changes books: of the order with this number, or with another order.
type Tamper = fn(&mut Books, &str, Order);

/// A platform on which one order was bought and paid, and nothing is wrong.
async fn sold() -> Stage {
    let stage = Stage::set().await;
    let platform = &stage.platform;
    let bought = platform.purchase(UserId::new(), "").await.expect("a purchase");
    let order = bought.order.expect("an order");
    let payment = platform.create_payment(&order, Channel::Wechat).await;
    stage.world.billing.pay(&payment.expect("a payment"));
    eventually(LONG, || async {
        platform.order(&order.order_id).await.status() == OrderStatus::Completed
    })
    .await;
    settled(&stage.world).await;
    assert_eq!(rest::broken(platform, &stage.world).await, Vec::<String>::new());
    stage
}

async fn settled(world: &World) {
    eventually(LONG, || async {
        let open = rest::open(&world.db).await;
        if open.is_empty() { Ok(()) } else { Err(open) }
    })
    .await;
}

/// The same platform, with another WeChat Pay that has these books.
async fn with_books(stage: Stage, books: Books) -> Stage {
    let Stage {
        platform,
        devices,
        world,
    } = stage;
    let world = Arc::into_inner(world).expect("nobody else has it");
    let billing = Arc::into_inner(world.billing).expect("nobody else has it");
    let keys = billing.wechat.keys();
    let wechat = wechatpay::resume("127.0.0.1:0", Options::default(), &keys, books).await;
    let billing = Arc::new(Billing {
        wechat: wechat.expect("a free port"),
        alipay: billing.alipay,
        kms: billing.kms,
    });
    let world = Arc::new(World { billing, ..world });
    Stage {
        platform,
        devices,
        world,
    }
}

async fn plant(stage: &Stage, sql: &'static str) {
    let planted = sqlx::raw_sql(sql).execute(&stage.world.db).await;
    planted.expect("it can be planted");
}

#[tokio::test]
async fn a_provider_that_has_other_books_is_found_by_number_and_in_total() {
    let mut stage = sold().await;
    let good = stage.world.billing.wechat.books();
    let number = good.orders.keys().next().expect("an order").clone();
    let order = good.orders[&number].clone();
    let another = Order {
        number: "PAY-NOBODY".to_owned(),
        state: OrderState::Paid,
        ..order.clone()
    };
    let tampered: [(&str, Tamper); 3] = [
        ("another amount", |books, number, _| {
            books.orders.get_mut(number).expect("it is there").amount_minor += 1;
        }),
        ("one that is not paid", |books, number, _| {
            books.orders.get_mut(number).expect("it is there").state = OrderState::Closed;
        }),
        ("one that is not ours", |books, _, another| {
            books.orders.insert(another.number.clone(), another);
        }),
    ];
    for (what, tamper) in tampered {
        let mut books = good.clone();
        tamper(&mut books, &number, another.clone());
        stage = with_books(stage, books).await;
        let differ = stage.world.billing.disagreements(&stage.platform).await;
        assert_eq!(differ.len(), 2, "{what}: {differ:?}");
        assert!(
            differ.iter().any(|line| line.contains("wechat: paid PAY")),
            "{what}: {differ:?}"
        );
        assert!(
            differ.iter().any(|line| line.contains("in total")),
            "{what}: {differ:?}"
        );
    }
    stage = with_books(stage, good).await;
    assert_eq!(
        stage.world.billing.disagreements(&stage.platform).await,
        Vec::<String>::new()
    );
    assert_eq!(order.amount_minor, PRICE);
}

#[tokio::test]
async fn a_grant_that_was_made_twice_or_not_taken_back_is_found() {
    let stage = sold().await;
    plant(
        &stage,
        "insert into quota.quota_grant (grant_id, user_id, amount, remaining, source, source_type, source_id, source_line, kind)
         select grant_id || '-again', user_id, amount, remaining, source, source_type, source_id, 1, kind
         from quota.quota_grant",
    )
    .await;
    let found = rest::granted_otherwise(&stage.world.db).await;
    assert!(
        found.iter().all(|line| line.contains("2 grants")) && !found.is_empty(),
        "{found:?}"
    );
    let drift = stage.platform.drift().expect_err("the promise is broken");
    assert!(drift.contains("granted 200"), "{drift}");
    plant(
        &stage,
        "delete from quota.quota_grant where source_line = 1;
         update billing.payments set status = 'REFUNDING', refunding_amount = amount;
         update billing.payments set status = 'REFUNDED', refunding_amount = 0, refunded_amount = amount;
         update billing.orders set status = 'REFUNDED', refunded_amount = final_amount, refunded_at = clock_timestamp()",
    )
    .await;
    let found = rest::granted_otherwise(&stage.world.db).await;
    assert!(
        found.len() == 1 && found[0].contains("is REFUNDED: sold 100"),
        "{found:?}"
    );
    assert!(stage.platform.drift().is_err());
    let differ = stage.world.billing.disagreements(&stage.platform).await;
    assert_eq!(
        differ,
        Vec::<String>::new(),
        "the provider was not asked for anything"
    );
}

#[tokio::test]
async fn money_that_is_stuck_without_a_case_is_found() {
    let mut stage = sold().await;
    // Who would tell an operator is gone.
    stage.platform.billing = None;
    assert_eq!(
        rest::neglected(&stage.world.db, CASE_AFTER).await,
        Vec::<String>::new()
    );
    plant(
        &stage,
        "insert into billing.refunds (id, refund_no, payment_id, order_id, user_id, amount, currency, status, cause, reason,
                                      requested_by, saga_id, created_at)
         select gen_random_uuid(), 'REF-STUCK', id, order_id, user_id, amount, currency, 'PROCESSING', 'REQUESTED', 'r', 'x',
                saga_id, clock_timestamp() - interval '1 minute'
         from billing.payments;
         update billing.payments set status = 'REFUNDING', refunding_amount = amount",
    )
    .await;
    assert_eq!(rest::neglected(&stage.world.db, CASE_AFTER).await.len(), 1);
    let open = rest::open(&stage.world.db).await;
    assert!(open.iter().any(|line| line.contains("REF-STUCK")), "{open:?}");
    plant(
        &stage,
        "insert into billing.cases (id, kind, channel, subject, subject_id, number, detail)
         select gen_random_uuid(), 'UNKNOWN_OUTCOME', 'wechat', 'refund', id, refund_no, 'planted' from billing.refunds",
    )
    .await;
    assert_eq!(
        rest::neglected(&stage.world.db, CASE_AFTER).await,
        Vec::<String>::new()
    );
}

#[tokio::test]
async fn a_replay_that_changes_something_is_found_and_the_log_is_no_change() {
    let stage = sold().await;
    // Events of the sale may still be on their way out.
    let before = quiet(&stage.world.db).await;
    assert!(before.len() > 20, "{before:?}");
    plant(&stage, "update billing.notify_receipts set detail = 'seen'").await;
    assert_eq!(fingerprint(&stage.world.db).await, before);
    plant(&stage, "update billing.orders set updated_at = clock_timestamp()").await;
    let after = fingerprint(&stage.world.db).await;
    let changed: Vec<&String> = before
        .keys()
        .filter(|table| before[*table] != after[*table])
        .collect();
    assert_eq!(changed, ["billing.orders"]);
}
