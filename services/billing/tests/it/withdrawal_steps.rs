//! The steps of WITHDRAWAL, called as an orchestrator may call them: twice, at once, late.

use ids::{SagaId, UserId, WithdrawalId};
use proto::billing::v1 as pb;
use proto::billing::v1::Channel;
use rpc::step::{Op, StepCall};
use test_support::eventually;
use tonic::{Response, Status};

use crate::earner::{Earner, assert_no_drift, transfers};
use crate::fake_sagas::called;
use crate::world::{DEADLINE, World, config, reason};

/// A withdrawal whose steps the test calls.
struct Saga {
    id: WithdrawalId,
    saga_id: SagaId,
    user_id: UserId,
    amount: i64,
}

impl Saga {
    fn of(earner: &Earner, amount: i64) -> Self {
        Self {
            id: WithdrawalId::new(),
            saga_id: SagaId::new(),
            user_id: earner.user_id,
            amount,
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
            refusable: op == Op::Action && step != "COMMISSION_CONFIRM",
        }
    }

    fn freeze_request(&self) -> pb::FreezeCommissionRequest {
        pb::FreezeCommissionRequest {
            withdrawal_id: self.id.to_string(),
            user_id: self.user_id.to_string(),
            amount: self.amount,
            channel: Channel::Alipay.into(),
            saga_id: self.saga_id.to_string(),
        }
    }

    async fn freeze(&self, world: &World) -> Result<Response<pb::FreezeCommissionResponse>, Status> {
        world.give_payee(self.id, r#"{"id":"2088102146225135"}"#).await;
        let call = self.call("COMMISSION", Op::Action);
        let request = called(&call, self.freeze_request());
        world.steps.clone().freeze_commission(request).await
    }

    async fn transfer(&self, world: &World) -> Result<Response<pb::CallProviderTransferResponse>, Status> {
        let call = self.call("TRANSFER", Op::Action);
        let withdrawal_id = self.id.to_string();
        let request = called(&call, pb::CallProviderTransferRequest { withdrawal_id });
        world.steps.clone().call_provider_transfer(request).await
    }

    async fn deduct(&self, world: &World) -> Result<Response<pb::DeductCommissionResponse>, Status> {
        let call = self.call("COMMISSION_CONFIRM", Op::Action);
        let withdrawal_id = self.id.to_string();
        let request = called(&call, pb::DeductCommissionRequest { withdrawal_id });
        world.steps.clone().deduct_commission(request).await
    }

    async fn unfreeze(&self, world: &World) -> Result<Response<pb::UnfreezeCommissionResponse>, Status> {
        let call = self.call("COMMISSION", Op::Compensation);
        let request = pb::UnfreezeCommissionRequest {
            withdrawal_id: self.id.to_string(),
            cause: "DEADLINE".to_owned(),
        };
        world
            .steps
            .clone()
            .unfreeze_commission(called(&call, request))
            .await
    }
}

fn is_pending<T>(answer: &Response<T>) -> bool {
    rpc::step::pending(answer.metadata()).is_some()
}

/// Writes an outcome as the provider would tell it.
async fn set(world: &World, status: &str) {
    let error = (status == "FAILED").then_some("no");
    sqlx::query("update withdrawals set status = $1, ended_at = now(), error = $2")
        .bind(status)
        .bind(error)
        .execute(&world.pool)
        .await
        .unwrap();
}

#[tokio::test]
async fn every_step_called_at_once_and_again_counts_once() {
    let world = World::quiet(config()).await;
    let earner = Earner::with(&world, 1_000).await;
    let saga = Saga::of(&earner, 600);
    for answer in futures::future::join_all((0..8).map(|_| saga.freeze(&world))).await {
        assert!(answer.unwrap().into_inner().withdrawal_no.starts_with("WDR"));
    }
    assert_eq!(earner.commission().await, (400, 600, 0));
    for answer in futures::future::join_all((0..8).map(|_| saga.transfer(&world))).await {
        assert!(is_pending(&answer.unwrap()));
    }
    let due: i64 = world.value("select count(*) from provider_checks").await;
    assert_eq!(due, 1);
    set(&world, "SUCCEEDED").await;
    assert!(!is_pending(&saga.transfer(&world).await.unwrap()));
    for answer in futures::future::join_all((0..8).map(|_| saga.deduct(&world))).await {
        answer.unwrap();
    }
    assert_eq!(earner.commission().await, (400, 0, 600));
    assert_eq!(earner.movements().await, ["credited", "frozen", "withdrawn"]);
    assert_no_drift(&world).await;
}

#[tokio::test]
async fn freezes_at_once_are_refused_and_do_not_fail() {
    let world = World::quiet(config()).await;
    let earner = Earner::with(&world, 1_000).await;
    let sagas: Vec<Saga> = (0..8).map(|_| Saga::of(&earner, 300)).collect();
    let answers = futures::future::join_all(sagas.iter().map(|saga| saga.freeze(&world))).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 3);
    for refused in answers.into_iter().filter(Result::is_err) {
        assert_eq!(reason(refused), "COMMISSION_INSUFFICIENT");
    }
    assert_eq!(earner.commission().await, (100, 900, 0));
}

#[tokio::test]
async fn a_cancel_before_the_provider_was_asked_gives_it_back_once() {
    let world = World::quiet(config()).await;
    let earner = Earner::with(&world, 1_000).await;
    let saga = Saga::of(&earner, 600);
    saga.freeze(&world).await.unwrap();
    for answer in futures::future::join_all((0..8).map(|_| saga.unfreeze(&world))).await {
        answer.unwrap();
    }
    assert_eq!(earner.commission().await, (1_000, 0, 0));
    assert_eq!(earner.movements().await, ["credited", "frozen", "unfrozen"]);
    let found = earner.get(&saga.id.to_string()).await;
    assert_eq!(found.error, "not sent: DEADLINE");
    // What comes late has no effect.
    assert_eq!(reason(saga.transfer(&world).await), "CHANNEL_REFUSED");
    let due: i64 = world.value("select count(*) from provider_checks").await;
    assert_eq!(due, 0);
    assert_no_drift(&world).await;
}

#[tokio::test]
async fn a_freeze_behind_its_cancel_freezes_nothing() {
    let world = World::quiet(config()).await;
    let earner = Earner::with(&world, 1_000).await;
    let saga = Saga::of(&earner, 600);
    saga.unfreeze(&world).await.unwrap();
    assert_eq!(reason(saga.freeze(&world).await), "SUPERSEDED");
    assert_eq!(earner.commission().await, (1_000, 0, 0));
    let rows: i64 = world.value("select count(*) from withdrawals").await;
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn a_cancel_waits_while_the_money_may_go_out() {
    let world = World::quiet(config()).await;
    let earner = Earner::with(&world, 1_000).await;
    let saga = Saga::of(&earner, 600);
    saga.freeze(&world).await.unwrap();
    saga.transfer(&world).await.unwrap();
    assert!(is_pending(&saga.unfreeze(&world).await.unwrap()));
    assert_eq!(earner.commission().await, (400, 600, 0));
    set(&world, "SUCCEEDED").await;
    assert_eq!(
        reason(saga.unfreeze(&world).await),
        "INTERNAL",
        "a person has to look"
    );
    assert_eq!(earner.commission().await, (400, 600, 0));
    saga.deduct(&world).await.unwrap();
    assert_eq!(earner.commission().await, (400, 0, 600));
}

#[tokio::test]
async fn a_confirm_without_a_success_books_nothing() {
    let world = World::quiet(config()).await;
    let earner = Earner::with(&world, 1_000).await;
    let saga = Saga::of(&earner, 600);
    assert_eq!(reason(saga.deduct(&world).await), "WITHDRAWAL_NOT_FOUND");
    saga.freeze(&world).await.unwrap();
    assert_eq!(reason(saga.deduct(&world).await), "INTERNAL");
    saga.transfer(&world).await.unwrap();
    assert_eq!(reason(saga.deduct(&world).await), "INTERNAL");
    set(&world, "FAILED").await;
    assert_eq!(reason(saga.deduct(&world).await), "INTERNAL");
    assert_eq!(reason(saga.transfer(&world).await), "CHANNEL_REFUSED");
    assert_eq!(earner.commission().await, (400, 600, 0));
    saga.unfreeze(&world).await.unwrap();
    assert_eq!(earner.commission().await, (1_000, 0, 0));
}

#[tokio::test]
async fn a_malformed_step_is_refused_for_good() {
    let world = World::quiet(config()).await;
    let earner = Earner::with(&world, 1_000).await;
    let good = Saga::of(&earner, 600).freeze_request();
    for (expected, request) in [
        (
            "INVALID_ID",
            pb::FreezeCommissionRequest {
                withdrawal_id: "w".to_owned(),
                ..good.clone()
            },
        ),
        (
            "INVALID_ID",
            pb::FreezeCommissionRequest {
                user_id: String::new(),
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::FreezeCommissionRequest {
                amount: 0,
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::FreezeCommissionRequest {
                channel: 7,
                ..good.clone()
            },
        ),
        (
            "INVALID_ARGUMENT",
            pb::FreezeCommissionRequest {
                // Nobody is known who would get it.
                withdrawal_id: WithdrawalId::new().to_string(),
                ..good.clone()
            },
        ),
        (
            "COMMISSION_INSUFFICIENT",
            pb::FreezeCommissionRequest {
                amount: 1_001,
                ..good.clone()
            },
        ),
    ] {
        let saga = Saga::of(&earner, 600);
        let call = saga.call("COMMISSION", Op::Action);
        for _ in 0..2 {
            let answer = world
                .steps
                .clone()
                .freeze_commission(called(&call, request.clone()))
                .await;
            let refused = answer.unwrap_err();
            assert!(rpc::step::is_stored(refused.metadata()));
            assert_eq!(rpc::error::info(&refused).unwrap().reason, expected);
        }
    }
    assert_eq!(earner.commission().await, (1_000, 0, 0));
}

#[tokio::test]
async fn the_tables_refuse_what_must_never_be() {
    let world = World::quiet(config()).await;
    let earner = Earner::with(&world, 1_000).await;
    let saga = Saga::of(&earner, 600);
    saga.freeze(&world).await.unwrap();
    for (constraint, sql) in [
        ("commission_accounts_parts", "update commission_accounts set available = -1, earned = earned - 401"),
        ("commission_accounts_sum", "update commission_accounts set available = available + 1"),
        ("append-only", "update commission_entries set note = 'x'"),
        ("append-only", "delete from commission_entries"),
        ("append-only", "truncate commission_entries"),
        ("cannot become", "update withdrawals set status = 'SUCCEEDED', ended_at = now(), saga_step = 'X'"),
        ("withdrawals_status", "update withdrawals set status = 'PROCESSING'"),
        ("withdrawals_status", "update withdrawals set status = 'FAILED'"),
        (
            "commission_entries_frozen",
            "insert into commission_entries (id, user_id, kind, earned_delta, available_delta, frozen_delta, withdrawn_delta, withdrawal_id)
             select gen_random_uuid(), user_id, kind, earned_delta, available_delta, frozen_delta, withdrawn_delta, withdrawal_id
             from commission_entries where kind = 'frozen'",
        ),
        (
            "commission_entries_credit",
            "insert into commission_entries (id, user_id, kind, earned_delta, available_delta, frozen_delta, withdrawn_delta, credit_id)
             select gen_random_uuid(), user_id, kind, earned_delta, available_delta, frozen_delta, withdrawn_delta, credit_id
             from commission_entries where kind = 'credited'",
        ),
        (
            "commission_entries_kind",
            "insert into commission_entries (id, user_id, kind, earned_delta, available_delta, frozen_delta, withdrawn_delta, withdrawal_id)
             select gen_random_uuid(), user_id, 'withdrawn', 600, 600, -600, 600, withdrawal_id
             from commission_entries where kind = 'frozen'",
        ),
    ] {
        let refused = sqlx::query(sql).execute(&world.pool).await.unwrap_err().to_string();
        assert!(refused.contains(constraint), "{sql}: {refused}");
    }
    assert_no_drift(&world).await;
}

#[tokio::test]
async fn a_recipient_that_cannot_be_opened_is_for_a_person() {
    let mut impatient = config();
    impatient.case_after = std::time::Duration::from_secs(1);
    let mut world = World::quiet(impatient).await;
    let earner = Earner::with(&world, 1_000).await;
    let saga = Saga::of(&earner, 600);
    saga.freeze(&world).await.unwrap();
    // A good field of another row opens here as little as rubbish does.
    let other = Saga::of(&earner, 1);
    world.give_payee(other.id, r#"{"id":"2088000000000000"}"#).await;
    let moved = sqlx::query(
        "update payees set recipient_sealed = (select recipient_sealed from payees where withdrawal_id = $2)
         where withdrawal_id = $1",
    );
    let moved = moved.bind(saga.id.uuid()).bind(other.id.uuid());
    moved.execute(&world.pool).await.unwrap();
    saga.transfer(&world).await.unwrap();
    world.run_jobs().await;
    eventually(DEADLINE, async || {
        world
            .value::<i64>("select count(*) from cases where kind = 'UNKNOWN_OUTCOME'")
            .await
            == 1
    })
    .await;
    assert!(transfers(&world, Channel::Alipay).is_empty());
    assert_eq!(earner.commission().await, (400, 600, 0));
}
