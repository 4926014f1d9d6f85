//! `evenkeel doubles devices`: by hand, and as the orchestrator uses it.

use ::doubles::allocator;
use ::events::{Broker, Config, Event, outbox};
use serde_json::json;
use test_support::{Scratch, TestBroker, TestDatabase, eventually};

use crate::doubles::{Double, SOON};
use crate::platform::Dev;
use crate::{code, run, stderr};

/// What the orchestrator does, by hand: an event into the broker.
async fn ask(database: &TestDatabase, amqp_url: &str, topic: &str, order: &str) {
    let config = Config {
        amqp_url: amqp_url.to_owned(),
        ..Config::default()
    };
    let broker = Broker::new(config, database.pool(::events::SCHEMA).await).expect("good settings");
    let pool = database.pool("asker").await;
    let event = Event::new(topic, order, json!({ "orderId": order, "userId": "user-1" }));
    let mut connection = pool.acquire().await.expect("a connection");
    outbox::insert(&mut connection, "asker", &event)
        .await
        .expect("written");
    let relaying = broker.relay(::events::Relay {
        service: "asker",
        schema: "asker",
        pool: pool.clone(),
        facts: &[],
    });
    let stop = tokio_util::sync::CancellationToken::new();
    let relay = tokio::spawn((relaying.job.run)(stop.clone()));
    eventually(SOON, async || {
        let waiting: i64 = sqlx::query_scalar("select count(*) from outbox where published_at is null")
            .fetch_one(&pool)
            .await
            .expect("the table is there");
        waiting == 0
    })
    .await;
    stop.cancel();
    relay.await.expect("it ends");
}

async fn devices_are_allocated(database: TestDatabase, amqp_url: String, broker: &str) {
    let variables = [
        ("DATABASE_URL", database.url()),
        ("AMQP_URL", amqp_url.clone()),
        ("EVENKEEL_EVENTS__LONGEST_POLL", "50ms".to_owned()),
    ];
    let double = Double::start(&["devices", "--devices", "1"], &variables).await;
    assert_eq!(double.said["broker"], broker);
    sqlx::raw_sql("create schema asker; create table asker.outbox (like doubles.outbox including all)")
        .execute(database.admin())
        .await
        .expect("a schema");
    ask(&database, &amqp_url, "device.allocate.requested", "order-1").await;
    let allocated = async || {
        let books = double.get("/_books").await;
        (books["free"] == 0).then_some(books)
    };
    let books = eventually(SOON, allocated).await;
    assert_eq!(books["allocations"][0]["device_id"], "device-0001");
    double.end().await;

    // The books are those of the database; what came meanwhile waits in the queue.
    ask(&database, &amqp_url, "device.release", "order-1").await;
    let double = Double::start(&["devices", "--devices", "1"], &variables).await;
    eventually(SOON, async || double.get("/_books").await["free"] == 1).await;
    let pool = database.pool(allocator::SCHEMA).await;
    let answers: i64 = sqlx::query_scalar("select count(*) from outbox where topic = 'device.allocated'")
        .fetch_one(&pool)
        .await
        .expect("the table is there");
    assert_eq!(answers, 1);
    double.end().await;
}

#[tokio::test]
async fn devices_are_allocated_over_the_queue_in_postgres() {
    let database = TestDatabase::create(&[]).await;
    devices_are_allocated(database, String::new(), "postgres").await;
}

#[tokio::test]
async fn devices_are_allocated_over_rabbitmq() {
    let (database, broker) = (TestDatabase::create(&[]).await, TestBroker::create().await);
    devices_are_allocated(database, broker.url(), "rabbitmq").await;
}

const PROTO: &str = r#"syntax = "proto3";
package acme.orders.v1;
message PurchaseInput { string order_id = 1; string user_id = 2; string plan_id = 3; }
message DeviceAllocateRequested { string order_id = 1; string user_id = 2; string plan_id = 3; }
message DeviceAllocated { string order_id = 1; string device_id = 2; }
message DeviceRelease { string order_id = 1; string device_id = 2; string user_id = 3; string reason = 4; }
message Confirm { string device_id = 1; }
message Confirmed {}
"#;

/// The second step waits for an answer that nobody gives.
const PURCHASE: &str = "
saga: PURCHASE
version: 1
input: acme.orders.v1.PurchaseInput
business_id: input.order_id
deadline: 5m
steps:
  - name: ALLOCATE_DEVICE
    publish: device.allocate.requested
    message: acme.orders.v1.DeviceAllocateRequested
    with: { order_id: input.order_id, user_id: input.user_id, plan_id: input.plan_id }
    await:
      reply: device.allocated
      message: acme.orders.v1.DeviceAllocated
      failed: device.allocate.failed
      ask_again: 1s
    compensate:
      publish: device.release
      message: acme.orders.v1.DeviceRelease
      with:
        order_id: input.order_id
        user_id: input.user_id
        device_id: { from: steps.ALLOCATE_DEVICE.device_id, allow_default: true }
  - name: CONFIRM
    publish: order.confirm.requested
    message: acme.orders.v1.Confirm
    with: { device_id: steps.ALLOCATE_DEVICE.device_id }
    await: { reply: order.confirmed, message: acme.orders.v1.Confirmed }
    no_compensation: nobody confirms anything here
";

#[tokio::test]
async fn a_saga_gets_its_device_and_gives_it_back() {
    let scratch = Scratch::new().expect("a directory");
    let file = |name: &str, text: String| {
        let path = scratch.path().join(name);
        std::fs::write(&path, text).expect("written");
        path.display().to_string()
    };
    let proto = file("orders.proto", PROTO.to_owned());
    let descriptors = scratch.path().join("orders.binpb").display().to_string();
    let compiled = run(&["proto", "compile", &proto, "--out", &descriptors]);
    assert_eq!(code(&compiled), 0, "{}", stderr(&compiled));
    let definition = file("PURCHASE.yaml", PURCHASE.to_owned());
    let settings = format!(
        "[saga.participants.\"acme.orders.v1\"]\nurl = \"http://127.0.0.1:1\"\nerror_domain = \"orders.acme\"\n\
         descriptors = {descriptors:?}\n"
    );
    let config = file("evenkeel.toml", settings);
    let rules = json!([
        // The first answer of all is lost; the second order gets none but a no.
        { "on": "allocate", "order": "order-1", "times": 1, "do": "lose" },
        { "on": "allocate", "order": "order-2", "do": { "refuse": { "reason": "OUT_OF_STOCK" } } },
    ]);
    let program = file("rules.json", rules.to_string());

    let dev = Dev::start_with(&["--no-devices", "--config", &config]).await;
    let variables = [("DATABASE_URL", dev.database.url())];
    let double = Double::start(&["devices", "--devices", "1", "--program", &program], &variables).await;
    let registered = dev.run(&["saga", "register", &definition, "--activate"]);
    assert_eq!(code(&registered), 0, "{}", stderr(&registered));
    let start = |order: &str| {
        let input = json!({ "orderId": order, "userId": "user-1", "planId": "plan-1" }).to_string();
        let begin = [
            "saga",
            "start",
            "PURCHASE",
            "--business-id",
            order,
            "--input",
            &input,
        ];
        dev.json(&begin)["saga"]["sagaId"]
            .as_str()
            .expect("an id")
            .to_owned()
    };
    let first = start("order-1");
    let waits =
        async || dev.json(&["saga", "show", &first])["saga"]["steps"][1]["action"]["state"] == "PENDING";
    eventually(SOON, waits).await;
    let books = double.get("/_books").await;
    assert_eq!(books["free"], 0);
    assert!(books["allocations"][0]["requests"].as_i64().expect("a number") >= 2);

    let second = start("order-2");
    let ended = async || {
        let saga = dev.json(&["saga", "show", &second])["saga"].clone();
        (saga["phase"] == "COMPENSATED").then_some(saga)
    };
    let refused = eventually(SOON, ended).await;
    assert_eq!(refused["error"]["reason"], "OUT_OF_STOCK");

    let cancelled = dev.run(&["saga", "cancel", &first, "--reason", "a change of mind"]);
    assert_eq!(code(&cancelled), 0, "{}", stderr(&cancelled));
    eventually(SOON, async || double.get("/_books").await["free"] == 1).await;
    double.end().await;
}
