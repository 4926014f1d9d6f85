//! A step that is asked for by an event and answered by one, over both brokers.

use proto::saga::v1::{OperationState, Saga, SagaPhase, SagaReason, StartSagaRequest, start_saga_request};
use rstest::rstest;
use serde_json::json;
use test_support::{TestBroker, TestDatabase, eventually};

use e2e::{LONG, Platform};

struct World {
    platform: Platform,
    broker: Option<TestBroker>,
}

impl World {
    async fn new(on_rabbitmq: bool) -> Self {
        let broker = if on_rabbitmq {
            Some(TestBroker::create().await)
        } else {
            None
        };
        let environment = broker
            .iter()
            .map(|broker| ("AMQP_URL".to_owned(), broker.url()))
            .collect();
        let platform = Platform::start_on(TestDatabase::create(&[]).await, environment).await;
        Self { platform, broker }
    }

    fn amqp_url(&self) -> String {
        self.broker.as_ref().map(TestBroker::url).unwrap_or_default()
    }

    /// Starts the orchestrator again, so that it knows the example, and registers the saga.
    async fn learn(&mut self) {
        self.platform.saga = None;
        self.platform.start_orchestrator();
        self.platform.ready().await;
        let (_, lend) = shapes::DEFINITIONS[2];
        self.platform.register(lend, "LEND").await;
    }

    async fn lend(&self, loan: &str, model: &str) -> String {
        let request = StartSagaRequest {
            r#type: "LEND".to_owned(),
            business_id: loan.to_owned(),
            input: Some(start_saga_request::Input::Json(
                json!({ "loanId": loan, "model": model }).to_string(),
            )),
            wait: None,
        };
        let started = self.platform.sagas().start_saga(request).await.unwrap();
        started.into_inner().saga.unwrap().saga_id
    }

    async fn ended(&self, saga: &str) -> Saga {
        eventually(LONG, || async {
            let saga = self.platform.saga_of(saga).await.0;
            [SagaPhase::Completed, SagaPhase::Compensated]
                .contains(&saga.phase())
                .then_some(saga)
        })
        .await
    }
}

#[rstest]
#[case::rabbitmq(true)]
#[case::postgres(false)]
#[tokio::test]
async fn an_event_is_asked_and_an_event_answers(#[case] on_rabbitmq: bool) {
    let mut world = World::new(on_rabbitmq).await;
    let url = world.amqp_url();
    let pool = world.platform.shapes(&url).await;
    world.learn().await;

    let lent = world.lend("loan-1", "phone").await;
    let lent = world.ended(&lent).await;
    assert_eq!(lent.phase(), SagaPhase::Completed, "{lent:#?}");
    let device: String = sqlx::query_scalar("select device_id from loan where loan_id = 'loan-1'")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(device, "device-loan-1");

    // The answer may be no, in the allocator's own words.
    let refused = world.lend("loan-2", "none").await;
    let refused = world.ended(&refused).await;
    assert_eq!(refused.phase(), SagaPhase::Compensated, "{refused:#?}");
    assert_eq!(refused.reason(), SagaReason::Refused);
    let error = refused.error.unwrap();
    assert_eq!(
        (error.step.as_str(), error.reason.as_str()),
        ("ALLOCATE", "NO_DEVICE_FREE")
    );
}

#[rstest]
#[case::rabbitmq(true)]
#[case::postgres(false)]
#[tokio::test]
async fn an_answer_that_was_lost_only_delays(#[case] on_rabbitmq: bool) {
    let mut world = World::new(on_rabbitmq).await;
    let url = world.amqp_url();
    let pool = world.platform.shapes(&url).await;
    // The first answers are lost before anybody publishes them.
    let lose = "create function lose() returns trigger language plpgsql as $$
        begin
            if (select count(*) from asked) < 2 then insert into asked default values; return null; end if;
            return new;
        end $$;
        create table asked (at timestamptz not null default clock_timestamp());
        create trigger lose before insert on outbox for each row execute function lose()";
    sqlx::raw_sql(lose).execute(&pool).await.unwrap();
    world.learn().await;
    let saga = world.lend("loan-1", "phone").await;
    eventually(LONG, || async {
        let saga = world.platform.saga_of(&saga).await.0;
        let allocate = saga.steps[1].action.clone().unwrap();
        allocate.state() == OperationState::Pending
    })
    .await;
    let saga = world.ended(&saga).await;
    assert_eq!(saga.phase(), SagaPhase::Completed, "{saga:#?}");
    let lost: i64 = sqlx::query_scalar("select count(*) from asked")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(lost, 2);
    let devices: i64 = sqlx::query_scalar("select count(*) from device")
        .fetch_one(&pool)
        .await
        .unwrap();
    assert_eq!(devices, 1, "it was asked for three times and allocated once");
}
