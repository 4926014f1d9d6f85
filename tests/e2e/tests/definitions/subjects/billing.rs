//! The definitions of billing, with doubles of the providers that really sign.

use std::collections::BTreeMap;
use std::sync::Mutex;

use futures::stream::{self, StreamExt as _};
use ids::{OrderId, PaymentId, RefundId, UserId, WithdrawalId};
use proto::billing::v1::{Channel, CreditCommissionRequest, Order, OrderStatus};
use serde_json::json;
use test_support::eventually;

use e2e::{Billing, LONG, PLAN, PRICE, Platform};

use crate::generic::{Started, Subject};

/// More than any of the tests starts.
const POOL: usize = 60;
/// How many of them are made ready at once: more would only wait for each other.
const AT_ONCE: usize = 8;

fn domains() -> BTreeMap<String, String> {
    let own = |name: &str| (format!("evenkeel.{name}.v1"), format!("{name}.evenkeel"));
    [own("quota"), own("billing")].into()
}

/// Orders that wait for a payment.
async fn orders(platform: &Platform) -> Vec<Order> {
    let bought = (0..POOL).map(|_| async {
        let bought = platform.purchase(UserId::new(), "").await;
        bought.expect("a purchase").order.expect("an order")
    });
    stream::iter(bought).buffer_unordered(AT_ONCE).collect().await
}

fn take<T>(pool: &Mutex<Vec<T>>) -> T {
    let taken = pool.lock().expect("nobody panicked").pop();
    taken.expect("the pool is large enough")
}

/// `PAYMENT`: something to scan for an order.
pub(crate) struct Payment {
    billing: Billing,
    orders: Mutex<Vec<Order>>,
}

impl Subject for Payment {
    const SAGA: &'static str = "PAYMENT";

    async fn prepare(platform: &mut Platform) -> Self {
        let billing = platform.open_billing().await;
        Self {
            billing,
            orders: Mutex::new(orders(platform).await),
        }
    }

    fn domains() -> BTreeMap<String, String> {
        domains()
    }

    fn next(&self) -> Started {
        let order = take(&self.orders);
        let payment = PaymentId::new().to_string();
        let input = json!({
            "paymentId": payment,
            "userId": order.user_id,
            "orderId": order.order_id,
            "amount": PRICE,
            "channel": "CHANNEL_WECHAT",
        });
        Started {
            business_id: payment,
            input,
        }
    }

    async fn assert_settled(&self, platform: &Platform) {
        self.billing.assert_books(platform).await;
        let odd: i64 = sqlx::query_scalar(
            "select count(*) from billing.payments p join saga.saga_instances s
                on s.saga_uuid = p.saga_id and s.status in ('COMPLETED', 'COMPENSATED')
             where (s.status = 'COMPLETED') <> (p.status = 'PENDING' and p.payment_url is not null)",
        )
        .fetch_one(platform.sql())
        .await
        .expect("the database answers");
        assert_eq!(odd, 0, "payments that are not as their sagas say");
    }
}

/// `PAYMENT_REFUND` of orders that were bought and paid.
pub(crate) struct Refund {
    billing: Billing,
    payments: Mutex<Vec<PaymentId>>,
}

impl Subject for Refund {
    const SAGA: &'static str = "PAYMENT_REFUND";

    async fn prepare(platform: &mut Platform) -> Self {
        let billing = platform.open_billing().await;
        let orders = orders(platform).await;
        let paid = orders.iter().map(|order| async {
            let payment = platform.create_payment(order, Channel::Wechat).await;
            let payment = payment.expect("a payment");
            billing.pay(&payment);
            eventually(LONG, || async {
                platform.order(&order.order_id).await.status() == OrderStatus::Completed
            })
            .await;
            payment.payment_id.parse::<PaymentId>().expect("an id")
        });
        let paid: Vec<_> = stream::iter(paid).buffer_unordered(AT_ONCE).collect().await;
        let payments = Mutex::new(paid);
        Self { billing, payments }
    }

    fn domains() -> BTreeMap<String, String> {
        domains()
    }

    fn next(&self) -> Started {
        let refund = RefundId::new().to_string();
        let input = json!({
            "refundId": refund,
            "paymentId": take(&self.payments).to_string(),
            "requestedBy": "test",
            "amount": PRICE,
            "cause": "REFUND_CAUSE_REQUESTED",
            "reason": "changed my mind",
        });
        Started {
            business_id: refund,
            input,
        }
    }

    async fn assert_settled(&self, platform: &Platform) {
        self.billing.assert_books(platform).await;
    }
}

/// `WITHDRAWAL` of somebody who has earned a lot.
pub(crate) struct Withdrawal {
    billing: Billing,
    user: UserId,
    /// Withdrawals whose recipient is known.
    ids: Mutex<Vec<WithdrawalId>>,
}

impl Subject for Withdrawal {
    const SAGA: &'static str = "WITHDRAWAL";

    async fn prepare(platform: &mut Platform) -> Self {
        let billing = platform.open_billing().await;
        let user = UserId::new();
        let request = CreditCommissionRequest {
            credit_id: format!("credit-{user}"),
            user_id: user.to_string(),
            amount: 1_000_000,
            note: "test".to_owned(),
        };
        let credited = platform.withdrawals().credit_commission(request).await;
        credited.expect("a credit");
        let ids: Vec<_> = (0..POOL).map(|_| WithdrawalId::new()).collect();
        for id in &ids {
            billing.give_payee(platform, *id).await;
        }
        Self {
            billing,
            user,
            ids: Mutex::new(ids),
        }
    }

    fn domains() -> BTreeMap<String, String> {
        domains()
    }

    fn next(&self) -> Started {
        let withdrawal = take(&self.ids).to_string();
        let input = json!({
            "withdrawalId": withdrawal,
            "userId": self.user.to_string(),
            "amount": 500,
            "channel": "CHANNEL_ALIPAY",
        });
        Started {
            business_id: withdrawal,
            input,
        }
    }

    async fn assert_settled(&self, platform: &Platform) {
        self.billing.assert_books(platform).await;
    }
}

/// `PAYMENT_PURCHASE` by people who pay whatever they are shown.
pub(crate) struct Purchase {
    billing: std::sync::Arc<Billing>,
    user: UserId,
}

impl Subject for Purchase {
    const SAGA: &'static str = "PAYMENT_PURCHASE";

    async fn prepare(platform: &mut Platform) -> Self {
        let billing = std::sync::Arc::new(platform.open_billing().await);
        let (payments, payer) = (platform.payments(), std::sync::Arc::clone(&billing));
        let db = platform.sql().clone();
        tokio::spawn(async move {
            let mut polls = tokio::time::interval(std::time::Duration::from_millis(20));
            loop {
                polls.tick().await;
                pay_what_is_open(&db, &payments, &payer).await;
            }
        });
        Self {
            billing,
            user: UserId::new(),
        }
    }

    fn domains() -> BTreeMap<String, String> {
        domains()
    }

    fn next(&self) -> Started {
        let order = OrderId::new().to_string();
        let input = json!({
            "orderId": order,
            "userId": self.user.to_string(),
            "planId": PLAN,
            "amount": PRICE,
            "requestedAt": "2026-11-21T00:00:00Z",
            "payWithin": "1800s",
            "waitForPayment": "2100s",
        });
        Started {
            business_id: order,
            input,
        }
    }

    async fn assert_settled(&self, platform: &Platform) {
        self.billing.assert_books(platform).await;
    }
}

/// Plays people: every open order gets a payment, which is paid at once.
async fn pay_what_is_open(
    db: &sqlx::PgPool,
    payments: &proto::billing::v1::payment_service_client::PaymentServiceClient<token::Channel>,
    billing: &Billing,
) {
    // The platform may be gone.
    let open: Vec<String> = sqlx::query_scalar(
        "select order_number from billing.orders o where status = 'PENDING' and cancelling is null
         and not exists (select 1 from billing.payments p where p.order_id = o.id)",
    )
    .fetch_all(db)
    .await
    .unwrap_or_default();
    for order_no in open {
        let request = proto::billing::v1::CreatePaymentRequest {
            order_no,
            amount: PRICE,
            channel: Channel::Wechat.into(),
            ..Default::default()
        };
        // It may be refused by a fault that was meant for somebody else, or go on without an answer.
        let _ = payments.clone().create_payment(request).await;
    }
    let shown: Vec<String> = sqlx::query_scalar(
        "select channel_order_no from billing.payments where status = 'PENDING' and payment_url is not null",
    )
    .fetch_all(db)
    .await
    .unwrap_or_default();
    for number in shown {
        // Whoever was paid a moment ago cannot be paid again.
        let _ = billing.wechat.pay(&number);
    }
}
