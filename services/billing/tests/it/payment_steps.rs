//! The steps of the saga PAYMENT, called as the orchestrator calls them: twice, at once, late, and undone in the middle.

use std::time::{Duration, Instant};

use doubles::pay::{Behaviour, Operation, OrderState, Rule};
use futures::future::join_all;
use ids::{OrderId, PaymentId, SagaId, UserId};
use proto::billing::v1 as pb;
use rpc::step::{Op, StepCall};
use test_support::eventually;
use tonic::Status;

use crate::buyer::{Buyer, PRICE, becomes, look, reaches, standing, told};
use crate::fake_sagas::{called, settled};
use crate::late::free_leases;
use crate::payments::{at_channel, pays};
use crate::world::{DEADLINE, World, config, reason};

/// A saga whose steps a test calls itself.
#[derive(Debug, Clone)]
struct Saga {
    saga_id: SagaId,
    payment_id: PaymentId,
    buyer: Buyer,
}

impl Saga {
    fn new(buyer: Buyer) -> Self {
        Self {
            saga_id: SagaId::new(),
            payment_id: PaymentId::new(),
            buyer,
        }
    }

    fn call(&self, step: &str, op: Op) -> StepCall {
        StepCall {
            saga_id: self.saga_id,
            step: step.to_owned(),
            index: 0,
            op,
            attempt: 1,
            epoch: 1,
            refusable: op == Op::Action,
        }
    }

    fn record(&self) -> pb::CreatePaymentRecordRequest {
        pb::CreatePaymentRecordRequest {
            payment_id: self.payment_id.to_string(),
            user_id: self.buyer.user_id.to_string(),
            order_id: self.buyer.order_id.to_string(),
            amount: PRICE,
            channel: pb::Channel::Wechat.into(),
            saga_id: self.saga_id.to_string(),
        }
    }

    async fn create(&self, world: &World) -> Result<pb::CreatePaymentRecordResponse, Status> {
        self.create_as(world, self.record()).await
    }

    async fn create_as(
        &self,
        world: &World,
        request: pb::CreatePaymentRecordRequest,
    ) -> Result<pb::CreatePaymentRecordResponse, Status> {
        let call = self.call("CREATE_ORDER", Op::Action);
        let answer = world
            .steps
            .clone()
            .create_payment_record(called(&call, request))
            .await?;
        Ok(answer.into_inner())
    }

    async fn show(&self, world: &World) -> Result<pb::CallPaymentChannelResponse, Status> {
        settled(|| self.show_once(world)).await
    }

    async fn show_once(
        &self,
        world: &World,
    ) -> Result<tonic::Response<pb::CallPaymentChannelResponse>, Status> {
        let call = self.call("CALL_PAYMENT_CHANNEL", Op::Action);
        let request = pb::CallPaymentChannelRequest {
            payment_id: self.payment_id.to_string(),
        };
        world
            .steps
            .clone()
            .call_payment_channel(called(&call, request))
            .await
    }

    async fn close(&self, world: &World) -> Result<pb::ClosePaymentResponse, Status> {
        settled(|| self.close_once(world)).await
    }

    async fn close_once(&self, world: &World) -> Result<tonic::Response<pb::ClosePaymentResponse>, Status> {
        let call = self.call("CALL_PAYMENT_CHANNEL", Op::Compensation);
        let request = pb::ClosePaymentRequest {
            payment_id: self.payment_id.to_string(),
            cause: "TIMEOUT".to_owned(),
        };
        world.steps.clone().close_payment(called(&call, request)).await
    }

    async fn discard(&self, world: &World) -> Result<pb::DiscardPaymentRecordResponse, Status> {
        let call = self.call("CREATE_ORDER", Op::Compensation);
        settled(|| {
            let request = pb::DiscardPaymentRecordRequest {
                payment_id: self.payment_id.to_string(),
                cause: "TIMEOUT".to_owned(),
            };
            let (mut steps, request) = (world.steps.clone(), called(&call, request));
            async move { steps.discard_payment_record(request).await }
        })
        .await
    }

    fn number(&self, made: &pb::CreatePaymentRecordResponse) -> String {
        assert_eq!(made.payment_no.len(), 29, "{made:?} of {}", self.payment_id);
        made.payment_no.clone()
    }
}

#[tokio::test]
async fn a_step_called_twice_at_once_has_one_effect() {
    let world = World::new().await;
    let saga = Saga::new(Buyer::new(&world).await);
    let made = join_all((0..10).map(|_| saga.create(&world))).await;
    let first = made[0].as_ref().unwrap();
    assert!(
        made.iter().all(|made| made.as_ref().unwrap() == first),
        "{made:?}"
    );
    let shown = join_all((0..10).map(|_| saga.show(&world))).await;
    let first = shown[0].as_ref().unwrap();
    assert!(first.payment_url.starts_with("http"));
    assert!(
        shown.iter().all(|shown| shown.as_ref().unwrap() == first),
        "{shown:?}"
    );
    assert_eq!(world.wechat.books().orders.len(), 1);
}

#[tokio::test]
async fn of_many_payments_at_once_one_is_made() {
    let world = World::new().await;
    let buyer = Buyer::new(&world).await;
    let sagas: Vec<Saga> = (0..20).map(|_| Saga::new(buyer)).collect();
    let made = join_all(sagas.iter().map(|saga| saga.create(&world))).await;
    let (good, bad): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!(good.len(), 1);
    for refused in bad {
        assert_eq!(reason(refused), "PAYMENT_IN_PROGRESS");
    }
    assert_eq!(world.value::<i64>("select count(*) from payments").await, 1);
}

#[tokio::test]
async fn the_record_refuses_what_cannot_be_paid() {
    let world = World::new().await;
    let buyer = Buyer::new(&world).await;
    let good = Saga::new(buyer).record();
    let cancelling = Buyer::new(&world).await;
    sqlx::query("update orders set cancelling = 'USER' where id = $1")
        .bind(cancelling.order_id.uuid())
        .execute(&world.pool)
        .await
        .unwrap();
    let wrong = [
        (
            "INVALID_ID",
            pb::CreatePaymentRecordRequest {
                payment_id: "pay_1".to_owned(),
                ..good.clone()
            },
        ),
        (
            "INVALID_ID",
            pb::CreatePaymentRecordRequest {
                order_id: String::new(),
                ..good.clone()
            },
        ),
        (
            "INVALID_ID",
            pb::CreatePaymentRecordRequest {
                saga_id: "x".to_owned(),
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::CreatePaymentRecordRequest {
                channel: 0,
                ..good.clone()
            },
        ),
        (
            "ORDER_NOT_FOUND",
            pb::CreatePaymentRecordRequest {
                order_id: OrderId::new().to_string(),
                ..good.clone()
            },
        ),
        (
            "ORDER_NOT_FOUND",
            pb::CreatePaymentRecordRequest {
                user_id: UserId::new().to_string(),
                ..good.clone()
            },
        ),
        (
            "PRICE_MISMATCH",
            pb::CreatePaymentRecordRequest {
                amount: PRICE + 1,
                ..good.clone()
            },
        ),
        ("ORDER_NOT_PAYABLE", Saga::new(cancelling).record()),
    ];
    for (why, request) in wrong {
        let saga = Saga::new(buyer);
        for _ in 0..2 {
            let answer = saga.create_as(&world, request.clone()).await;
            assert_eq!(reason(answer), why, "{request:?}");
        }
        // A refused action has nothing to undo.
        saga.discard(&world).await.unwrap();
    }
    let first = Saga::new(buyer);
    first.create(&world).await.unwrap();
    first.discard(&world).await.unwrap();
    let taken = pb::CreatePaymentRecordRequest {
        payment_id: first.payment_id.to_string(),
        ..Saga::new(buyer).record()
    };
    assert_eq!(
        reason(Saga::new(buyer).create_as(&world, taken).await),
        "ORDER_MISMATCH"
    );
}

#[tokio::test]
async fn a_payment_that_is_undone_before_its_channel_hears_of_it_has_failed() {
    let world = World::new().await;
    let saga = Saga::new(Buyer::new(&world).await);
    saga.create(&world).await.unwrap();
    // The compensation of a call that never came.
    saga.close(&world).await.unwrap();
    saga.discard(&world).await.unwrap();
    saga.discard(&world).await.unwrap();
    let id = saga.payment_id.to_string();
    assert_eq!(look(&world, &id).await, standing("FAILED", "PENDING", false));
    // The action comes late, and finds that it is not wanted any more.
    assert_eq!(reason(saga.show(&world).await), "SUPERSEDED");
    assert!(world.wechat.books().orders.is_empty());
    assert_eq!(
        world.value::<i64>("select count(*) from provider_checks").await,
        0
    );
}

#[tokio::test]
async fn what_is_undone_while_the_channel_is_asked_is_closed_there_and_never_shown() {
    let world = World::new().await;
    world.wechat.program(vec![
        Rule::once(Operation::Create, Behaviour::Answer).delay_ms(300),
    ]);
    let saga = Saga::new(Buyer::new(&world).await);
    let number = saga.number(&saga.create(&world).await.unwrap());
    let asked = saga.show_once(&world).await.unwrap();
    assert!(rpc::step::pending(asked.metadata()).is_some());
    eventually(DEADLINE, async || {
        at_channel(&world, pb::Channel::Wechat, &number).is_some()
    })
    .await;
    saga.close(&world).await.unwrap();
    let id = saga.payment_id.to_string();
    reaches(&world, &id, &standing("CLOSED", "PENDING", false)).await;
    let url: Option<String> = world.value("select payment_url from payments").await;
    assert_eq!(url, None);
    assert_eq!(
        at_channel(&world, pb::Channel::Wechat, &number),
        Some(OrderState::Closed)
    );
    assert_eq!(reason(saga.show(&world).await), "SUPERSEDED");
    assert_eq!(told(&world, "payment.closed", saga.buyer.order_id).await, 1);
}

#[tokio::test]
async fn a_payment_that_was_paid_before_it_is_undone_stays_paid() {
    let world = World::new().await;
    let saga = Saga::new(Buyer::new(&world).await);
    let number = saga.number(&saga.create(&world).await.unwrap());
    saga.show(&world).await.unwrap();
    assert!(pays(&world, pb::Channel::Wechat, &number));
    saga.close(&world).await.unwrap();
    saga.discard(&world).await.unwrap();
    let id = saga.payment_id.to_string();
    assert_eq!(look(&world, &id).await, standing("SUCCESS", "PAID", false));
}

#[tokio::test]
async fn a_process_that_dies_at_any_call_is_made_up_for_by_the_next() {
    let mut world = World::quiet(config()).await;
    let saga = Saga::new(Buyer::new(&world).await);
    let number = saga.number(&saga.create(&world).await.unwrap());
    // The order is made at the channel, and nobody hears the answer.
    world.wechat.program(vec![
        Rule::once(Operation::Create, Behaviour::Answer).delay_ms(60_000),
        Rule::once(Operation::Query, Behaviour::Hang),
    ]);
    world.run_jobs().await;
    drop(saga.show_once(&world).await);
    eventually(DEADLINE, async || {
        at_channel(&world, pb::Channel::Wechat, &number).is_some()
    })
    .await;
    world.kill_jobs().await;
    free_leases(&world).await;
    world.run_jobs().await;
    assert!(saga.show(&world).await.unwrap().payment_url.starts_with("http"));
    // It is paid, nobody tells, and the question is broken off as well.
    world.wechat.program(vec![
        Rule::once(Operation::NotifyPayment, Behaviour::Lose),
        Rule::once(Operation::Query, Behaviour::Answer).delay_ms(60_000),
    ]);
    assert!(pays(&world, pb::Channel::Wechat, &number));
    eventually(DEADLINE, async || {
        world
            .value::<bool>("select exists (select 1 from provider_checks where lease_until is not null)")
            .await
    })
    .await;
    world.kill_jobs().await;
    free_leases(&world).await;
    world.run_jobs().await;
    reaches(
        &world,
        &saga.payment_id.to_string(),
        &standing("SUCCESS", "PAID", false),
    )
    .await;
    assert_eq!(world.wechat.books().orders.len(), 1);
    becomes(&world, "select count(*) from provider_checks", 0_i64).await;
}

#[tokio::test]
async fn what_becomes_due_while_it_is_asked_is_not_put_off() {
    let slow = billing::Config {
        ask_after: vec![Duration::from_secs(25)],
        ..config()
    };
    let mut world = World::quiet(slow).await;
    world.wechat.program(vec![
        Rule::once(Operation::Create, Behaviour::Answer).delay_ms(400),
    ]);
    let saga = Saga::new(Buyer::new(&world).await);
    let number = saga.number(&saga.create(&world).await.unwrap());
    drop(saga.show_once(&world).await);
    let began = Instant::now();
    world.run_jobs().await;
    eventually(DEADLINE, async || {
        at_channel(&world, pb::Channel::Wechat, &number).is_some()
    })
    .await;
    let id = saga.payment_id.to_string();
    saga.buyer.cancel(&world, &id).await.unwrap();
    reaches(&world, &id, &standing("CLOSED", "PENDING", false)).await;
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
}
