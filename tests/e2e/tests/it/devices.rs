//! Plans that come with a device: whoever allocates devices is asked by events, over either broker.

use doubles::allocator::{Behaviour, Operation, Rule, State};
use e2e::{Billing, Devices, LONG, Mode, PRICE, Platform, QUOTA};
use ids::UserId;
use proto::billing::v1::{Channel, Order, OrderStatus, PurchasePlanRequest};
use proto::saga::v1::{ActivateDefinitionRequest, RegisterDefinitionRequest};
use rstest::rstest;
use test_support::{TestBroker, TestDatabase, eventually};

const PLAN: &str = "with-device";

/// Which broker a platform has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Postgres,
    RabbitMq,
}

struct Shop {
    platform: Platform,
    billing: Billing,
    devices: Devices,
    _broker: Option<TestBroker>,
}

impl Shop {
    async fn open(kind: Kind) -> Self {
        let broker = match kind {
            Kind::Postgres => None,
            Kind::RabbitMq => Some(TestBroker::create().await),
        };
        let environment = broker.iter().map(|broker| ("AMQP_URL".to_owned(), broker.url()));
        let database = TestDatabase::create(&[]).await;
        let mut platform = Platform::start_on(database, environment.collect()).await;
        let billing = platform.open_billing().await;
        platform.publish(PLAN, true).await;
        let devices = platform.open_devices(3).await;
        Self {
            platform,
            billing,
            devices,
            _broker: broker,
        }
    }

    /// Somebody buys the plan, and pays at once.
    async fn sell(&self) -> Order {
        let order = buy(&self.platform).await;
        let payment = self.platform.create_payment(&order, Channel::Wechat).await;
        self.billing.pay(&payment.expect("a payment"));
        order
    }

    async fn until(&self, order: &Order, status: OrderStatus) -> Order {
        until(&self.platform, order, status).await
    }

    /// What became of an order at the allocator; `None` if it has not heard of it.
    async fn allocation(&self, order: &Order) -> Option<(State, Option<String>)> {
        let books = self.devices.books().await;
        let mut all = books.allocations.into_iter();
        all.find(|allocation| allocation.order_id == order.order_id)
            .map(|allocation| (allocation.state, allocation.device_id))
    }

    /// Nothing is left of an order: the money went back, nothing was granted, and every device is free.
    async fn assert_undone(&self, order: &Order) {
        let order = self.until(order, OrderStatus::Refunded).await;
        assert_eq!((order.refunded_amount, order.device_id.as_str()), (PRICE, ""));
        self.billing.assert_books(&self.platform).await;
        let refunded: i64 = self.billing.wechat.books().totals().refunded;
        assert_eq!(refunded, PRICE);
        let granted = quota_of(&self.platform, &order).await;
        assert_eq!(granted, 0);
        let books = self.devices.books().await;
        assert_eq!(books.free, books.devices);
    }
}

async fn buy(platform: &Platform) -> Order {
    let request = PurchasePlanRequest {
        plan_id: PLAN.to_owned(),
        amount: PRICE,
        user_id: UserId::new().to_string(),
        request_id: String::new(),
    };
    let bought = platform.orders().purchase_plan(request).await;
    bought.expect("a purchase").into_inner().order.expect("an order")
}

async fn until(platform: &Platform, order: &Order, status: OrderStatus) -> Order {
    eventually(LONG, || async {
        let order = platform.order(&order.order_id).await;
        if order.status() == status {
            Ok(order)
        } else {
            Err(order)
        }
    })
    .await
}

/// What the buyer was ever granted.
async fn quota_of(platform: &Platform, order: &Order) -> i64 {
    let user = order.user_id.parse::<UserId>().unwrap();
    sqlx::query_scalar("select coalesce(sum(amount), 0)::bigint from quota.quota_grant where user_id = $1")
        .bind(user.uuid())
        .fetch_one(platform.sql())
        .await
        .unwrap()
}

fn always(behaviour: Behaviour) -> Rule {
    Rule {
        times: None,
        ..Rule::once(Operation::Allocate, behaviour)
    }
}

#[rstest]
#[case::on_postgres(Kind::Postgres)]
#[case::on_rabbitmq(Kind::RabbitMq)]
#[tokio::test]
async fn who_buys_a_plan_with_a_device_has_the_one_that_was_allocated(#[case] kind: Kind) {
    let shop = Shop::open(kind).await;
    // The answer is repeated, and the first one lost.
    let rules = [Behaviour::Lose, Behaviour::Duplicate(2)].map(|b| Rule::once(Operation::Allocate, b));
    shop.devices.program(&rules).await;
    let order = shop.sell().await;
    let order = shop.until(&order, OrderStatus::Completed).await;
    let given = shop.allocation(&order).await;
    assert_eq!(given, Some((State::Allocated, Some(order.device_id.clone()))));
    assert!(!order.device_id.is_empty());
    assert_eq!(quota_of(&shop.platform, &order).await, QUOTA);
    let books = shop.devices.books().await;
    assert_eq!(books.devices - books.free, 1);
    shop.billing.assert_books(&shop.platform).await;
}

#[rstest]
#[case::on_postgres(Kind::Postgres)]
#[case::on_rabbitmq(Kind::RabbitMq)]
#[tokio::test]
async fn a_device_that_is_refused_unwinds_the_order_and_the_money_goes_back(#[case] kind: Kind) {
    let shop = Shop::open(kind).await;
    // Silent until the order is paid: it is asked again.
    shop.devices.program(&[always(Behaviour::Ignore)]).await;
    let order = shop.sell().await;
    shop.until(&order, OrderStatus::Paid).await;
    let refusal = always(Behaviour::Refuse {
        reason: "OUT_OF_STOCK".to_owned(),
        message: "none is left".to_owned(),
    });
    shop.devices.program(&[refusal]).await;
    shop.assert_undone(&order).await;
    let (state, device) = shop.allocation(&order).await.unwrap();
    assert_eq!((state, device), (State::Refused, None));
    let (saga, _) = shop.platform.saga_of(&order.saga_id).await;
    assert_eq!(saga.error.unwrap_or_default().reason, "OUT_OF_STOCK");
}

#[rstest]
#[case::on_postgres(Kind::Postgres)]
#[case::on_rabbitmq(Kind::RabbitMq)]
#[tokio::test]
async fn an_allocator_that_stays_silent_costs_the_deadline_and_then_the_money_goes_back(#[case] kind: Kind) {
    let shop = Shop::open(kind).await;
    hurry(&shop.platform).await;
    shop.devices.program(&[always(Behaviour::Ignore)]).await;
    let order = shop.sell().await;
    shop.until(&order, OrderStatus::Paid).await;
    shop.assert_undone(&order).await;
    // It was told that nobody waits any more.
    eventually(LONG, || async {
        let found = shop.allocation(&order).await;
        if found == Some((State::Released, None)) {
            Ok(())
        } else {
            Err(found)
        }
    })
    .await;
    let (saga, _) = shop.platform.saga_of(&order.saga_id).await;
    assert_eq!(saga.reason().as_str_name(), "SAGA_REASON_TIMEOUT");
}

/// The definition as it is, but for a deadline for which nobody wants to wait 5 min here.
async fn hurry(platform: &Platform) {
    let source = include_str!("../../../../services/billing/sagas/PAYMENT_PURCHASE.yaml");
    let quick = source
        .replace("\nversion: 1\n", "\nversion: 2\n")
        .replace("\ndeadline: 5m\n", "\ndeadline: 4s\n");
    assert!(quick.contains("\ndeadline: 4s\n") && quick.contains("\nversion: 2\n"));
    let request = RegisterDefinitionRequest {
        source: quick,
        source_name: "quick.yaml".to_owned(),
        check_only: false,
    };
    let registered = platform.sagas().register_definition(request).await.unwrap();
    assert_eq!(registered.into_inner().problems, []);
    let request = ActivateDefinitionRequest {
        name: "PAYMENT_PURCHASE".to_owned(),
        version: 2,
        deactivate: false,
    };
    platform.sagas().activate_definition(request).await.unwrap();
}

#[tokio::test]
async fn in_dev_a_plan_with_a_device_is_bought_on_the_page_of_the_double() {
    let platform = Platform::start(Mode::Dev).await;
    platform.publish(PLAN, true).await;
    let order = buy(&platform).await;
    let payment = platform.create_payment(&order, Channel::Wechat).await.unwrap();
    let page = reqwest::Client::new().post(&payment.payment_url).send().await;
    assert!(page.unwrap().status().is_success(), "{payment:?}");
    let order = until(&platform, &order, OrderStatus::Completed).await;
    assert!(!order.device_id.is_empty());
}
