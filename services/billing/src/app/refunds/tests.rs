//! What providers and people say of refunds, on a real database.

use ids::RefundId;
use pay::{Currency, Money, Number, RefundState};
use process::PoolGauge;
use sqlx::PgPool;
use test_support::TestDatabase;

use super::{Applied, apply, settle_by_person};
use crate::app::App;
use crate::error::Error;

const NUMBER: &str = "REF00000000000000000000000001";
const PAYMENT: &str = "PAY00000000000000000000000001";

/// A refund of 400 that the provider was asked for.
struct Setting {
    gauge: PoolGauge,
    pool: PgPool,
    id: RefundId,
    _db: TestDatabase,
}

impl Setting {
    async fn new(status: &'static str) -> Self {
        let db = TestDatabase::create(&[(crate::SCHEMA, &crate::MIGRATOR)]).await;
        let pool = db.pool(crate::SCHEMA).await;
        let id = RefundId::new();
        write(&pool, id, status).await;
        let gauge = PoolGauge::new("billing", pool.clone());
        Self {
            gauge,
            pool,
            id,
            _db: db,
        }
    }

    async fn hear(&self, told: &pay::Refund) -> Applied {
        App::transaction(&self.gauge, async |conn| apply(conn, told, "test").await)
            .await
            .unwrap()
    }

    async fn settle(&self, succeeded: bool) -> Result<(), Error> {
        App::transaction(&self.gauge, async |conn| {
            settle_by_person(conn, self.id, succeeded, "the bank said so").await
        })
        .await
    }

    /// Everything that may not change when nothing new is heard.
    async fn all(&self) -> Vec<String> {
        sqlx::query_scalar(
            "select row(r.*)::text from refunds r union all select row(c.*)::text from cases c
             union all select row(p.*)::text from provider_checks p
             union all select row(o.*)::text from outbox o union all select row(m.*)::text from payments m
             order by 1",
        )
        .fetch_all(&self.pool)
        .await
        .unwrap()
    }

    async fn text(&self, sql: &'static str) -> String {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }
}

async fn write(pool: &PgPool, id: RefundId, status: &'static str) {
    let mut tx = pool.begin().await.unwrap();
    for sql in [
        "insert into plans (id, version, on_sale) values ('pro', 1, true)",
        "insert into plan_versions (plan_id, version, kind, title, description, amount, currency, quota, quota_days,
                                    membership_days, needs_device)
         values ('pro', 1, 'TOP_UP', 'Pro', '', 1000, 'CNY', 1, 0, 0, false)",
        "insert into orders (id, order_number, user_id, plan_id, plan_version, amount, final_amount, currency, status,
                             saga_id, expires_at, paid_at, completed_at)
         values (gen_random_uuid(), 'ORD1', gen_random_uuid(), 'pro', 1, 1000, 1000, 'CNY', 'COMPLETED',
                 gen_random_uuid(), now(), now(), now())",
    ] {
        sqlx::query(sql).execute(&mut *tx).await.unwrap();
    }
    sqlx::query(
        "insert into payments (id, payment_no, order_id, user_id, channel, channel_order_no, amount, currency, status,
                               refunding_amount, refunds, saga_id, expires_at, paid_at)
         select gen_random_uuid(), $1, id, user_id, 'wechat', $1, 1000, 'CNY', 'REFUNDING', 400, 1, saga_id, now(), now()
         from orders",
    )
    .bind(PAYMENT)
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query(
        "insert into refunds (id, refund_no, payment_id, order_id, user_id, amount, currency, status, cause, reason,
                              requested_by, saga_id)
         select $1, $2, id, order_id, user_id, 400, 'CNY', $3, 'REQUESTED', 'x', 'x', saga_id from payments",
    )
    .bind(id.uuid())
    .bind(NUMBER)
    .bind(status)
    .execute(&mut *tx)
    .await
    .unwrap();
    sqlx::query("insert into provider_checks (subject, subject_id, channel) values ('refund', $1, 'wechat')")
        .bind(id.uuid())
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

fn told(state: RefundState) -> pay::Refund {
    pay::Refund {
        number: Number::new(NUMBER).unwrap(),
        payment: Number::new(PAYMENT).unwrap(),
        provider_no: Some("50000".to_owned()),
        amount: Some(Money {
            amount_minor: 400,
            currency: Currency::Cny,
        }),
        state,
        refunded_at: None,
    }
}

#[tokio::test]
async fn a_word_that_is_repeated_or_late_leaves_everything_as_it_is() {
    for last in [RefundState::Succeeded, RefundState::Closed] {
        let setting = Setting::new("PROCESSING").await;
        for state in [RefundState::Processing, RefundState::Abnormal, last] {
            assert_eq!(setting.hear(&told(state)).await, Applied::Changed, "{state:?}");
            let all = setting.all().await;
            assert_eq!(setting.hear(&told(state)).await, Applied::Unchanged, "{state:?}");
            assert_eq!(setting.all().await, all, "{state:?} twice");
        }
        let all = setting.all().await;
        for state in [RefundState::Abnormal, RefundState::Processing] {
            assert_eq!(setting.hear(&told(state)).await, Applied::Unchanged);
        }
        assert_eq!(setting.all().await, all);
        let checks = setting.text("select count(*)::text from provider_checks").await;
        let numbers = setting.text("select provider_refund_no from refunds").await;
        assert_eq!((checks.as_str(), numbers.as_str()), ("0", "50000"));
    }
}

#[tokio::test]
async fn a_word_of_something_else_is_held_and_shown_once() {
    let setting = Setting::new("PROCESSING").await;
    let mut other = told(RefundState::Succeeded);
    other.number = Number::new("REF00000000000000000000000002").unwrap();
    let before = setting.all().await;
    assert!(matches!(setting.hear(&other).await, Applied::Held(_)));
    assert_eq!(setting.all().await, before);

    let mut amount = told(RefundState::Succeeded);
    amount.amount = Some(Money {
        amount_minor: 401,
        currency: Currency::Cny,
    });
    let mut payment = told(RefundState::Succeeded);
    payment.payment = Number::new("PAY00000000000000000000000002").unwrap();
    for wrong in [amount, payment] {
        for _ in 0..2 {
            assert!(matches!(setting.hear(&wrong).await, Applied::Held(_)));
        }
    }
    assert_eq!(setting.text("select status from refunds").await, "PROCESSING");
    assert_eq!(
        setting.text("select string_agg(kind, ' ') from cases").await,
        "AMOUNT_MISMATCH"
    );
}

#[tokio::test]
async fn a_word_against_what_is_known_is_held_and_shown() {
    for (succeeded, contrary) in [(true, RefundState::Closed), (false, RefundState::Succeeded)] {
        let setting = Setting::new("PROCESSING").await;
        setting.settle(succeeded).await.unwrap();
        let status = setting.text("select status from refunds").await;
        for _ in 0..2 {
            assert!(matches!(setting.hear(&told(contrary)).await, Applied::Held(_)));
        }
        assert_eq!(setting.text("select status from refunds").await, status);
        assert_eq!(
            setting.text("select string_agg(kind, ' ') from cases").await,
            "UNKNOWN_OUTCOME"
        );
    }
    let setting = Setting::new("PENDING").await;
    assert!(matches!(
        setting.hear(&told(RefundState::Succeeded)).await,
        Applied::Held(_)
    ));
}

#[tokio::test]
async fn a_person_settles_what_the_provider_was_asked_for_once() {
    let setting = Setting::new("PENDING").await;
    assert!(matches!(setting.settle(true).await, Err(Error::NotSettleable(_))));
    for succeeded in [true, false] {
        let setting = Setting::new("PROCESSING").await;
        setting.settle(succeeded).await.unwrap();
        let all = setting.all().await;
        setting.settle(succeeded).await.unwrap();
        assert!(matches!(
            setting.settle(!succeeded).await,
            Err(Error::NotSettleable(_))
        ));
        assert_eq!(setting.all().await, all);
        let ended = setting
            .text("select status || ' ' || coalesce(error, '') from refunds")
            .await;
        let expected = if succeeded {
            "SUCCEEDED "
        } else {
            "CLOSED the bank said so"
        };
        assert_eq!(ended, expected);
        assert_eq!(
            setting.text("select count(*)::text from provider_checks").await,
            "0"
        );
    }
}
