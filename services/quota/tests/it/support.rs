//! A running service and short ways to call it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use ids::{SagaId, TaskId, UserId};
use process::grpc::{Limits, Listener};
use process::health::Health;
use process::{PoolGauge, Shutdown, Supervisor};
use proto::quota::v1 as pb;
use proto::quota::v1::quota_service_client::QuotaServiceClient;
use proto::quota::v1::quota_steps_client::QuotaStepsClient;
use rpc::step::{Op, StepCall};
use sqlx::PgPool;
use test_support::{TestDatabase, identities};
use token::Channel;
use tonic::{Request, Status};

/// What is left below which `quota.low` is told. Few tests go there.
pub(crate) const LOW_BELOW: i64 = 2;
/// Longest that a test waits for anything.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// The service on ports of its own, with a database of its own.
pub(crate) struct Fixture {
    pub(crate) quota: Quota,
    pub(crate) database: TestDatabase,
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create(&[(quota::SCHEMA, &quota::MIGRATOR)]).await;
        let quota = Quota::serve(database.pool(quota::SCHEMA).await).await;
        Self { quota, database }
    }

    /// Opens the account of a new user with one grant.
    pub(crate) async fn user_with(&self, amount: i64) -> UserId {
        let user = UserId::new();
        self.quota.grant(user, amount, 0).await;
        user
    }
}

/// A served instance. Its listeners end when it is dropped.
pub(crate) struct Quota {
    pub(crate) pool: PgPool,
    pub(crate) public: QuotaServiceClient<Channel>,
    pub(crate) steps: QuotaStepsClient<Channel>,
    shutdown: Shutdown,
}

impl Drop for Quota {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

impl Quota {
    pub(crate) async fn serve(pool: PgPool) -> Self {
        let deps = quota::Deps {
            pool: PoolGauge::new("quota", pool.clone()),
            steps_pool: PoolGauge::new("quota-steps", pool.clone()),
            guard: identities().guard("quota"),
        };
        let service = quota::build(&quota::Config { low_below: LOW_BELOW }, deps).unwrap();
        let shutdown = Shutdown::new(Duration::from_secs(1));
        let supervisor = Supervisor::new(shutdown.clone());
        let health = Health::new().await;
        let mut channels = Vec::new();
        let listeners = [
            ("quota", "task", service.public),
            ("quota-steps", "saga", service.steps),
        ];
        for (name, caller, routes) in listeners {
            let listener = Listener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
            let url = format!("http://{}", listener.local_addr());
            channels.push(identities().channel(&url, caller, "quota"));
            let (health, shutdown) = (health.clone(), shutdown.clone());
            supervisor.spawn(name, async move {
                process::grpc::serve(name, listener, routes, &health, &shutdown, &Limits::default()).await
            });
        }
        let steps = channels.pop().map(QuotaStepsClient::new).unwrap();
        let public = channels.pop().map(QuotaServiceClient::new).unwrap();
        Self {
            pool,
            public,
            steps,
            shutdown,
        }
    }

    /// Grants with an id of its own. Returns the id.
    pub(crate) async fn grant(&self, user: UserId, amount: i64, priority: i32) -> String {
        let grant_id = format!("grant-{}", TaskId::new());
        self.create_grant(grant(&grant_id, user, amount, priority))
            .await
            .unwrap();
        grant_id
    }

    pub(crate) async fn create_grant(
        &self,
        request: pb::CreateGrantRequest,
    ) -> Result<pb::CreateGrantResponse, Status> {
        Ok(self.public.clone().create_grant(request).await?.into_inner())
    }

    pub(crate) async fn reserve(
        &self,
        user: UserId,
        task: TaskId,
        amount: i64,
    ) -> Result<pb::Reservation, Status> {
        let request = pb::ReserveQuotaRequest {
            user_id: user.to_string(),
            task_id: task.to_string(),
            amount,
        };
        let response = self.public.clone().reserve_quota(request).await?;
        Ok(response.into_inner().reservation.unwrap())
    }

    pub(crate) async fn confirm(&self, task: TaskId) -> Result<pb::Reservation, Status> {
        let request = pb::ConfirmReservationRequest {
            task_id: task.to_string(),
        };
        let response = self.public.clone().confirm_reservation(request).await?;
        Ok(response.into_inner().reservation.unwrap())
    }

    pub(crate) async fn cancel(&self, task: TaskId) -> Result<Option<pb::Reservation>, Status> {
        let request = pb::CancelReservationRequest {
            task_id: task.to_string(),
        };
        Ok(self
            .public
            .clone()
            .cancel_reservation(request)
            .await?
            .into_inner()
            .reservation)
    }

    pub(crate) async fn reservation(&self, task: TaskId) -> Result<pb::Reservation, Status> {
        let request = pb::GetReservationRequest {
            task_id: task.to_string(),
        };
        let response = self.public.clone().get_reservation(request).await?;
        Ok(response.into_inner().reservation.unwrap())
    }

    /// Returns granted, available, reserved, consumed.
    pub(crate) async fn balance(&self, user: UserId) -> [i64; 4] {
        let request = pb::GetBalanceRequest {
            user_id: user.to_string(),
        };
        let response = self.public.clone().get_balance(request).await.unwrap();
        let balance = response.into_inner().balance.unwrap();
        assert_eq!(balance.quota_remaining, balance.available);
        [
            balance.granted,
            balance.available,
            balance.reserved,
            balance.consumed,
        ]
    }

    pub(crate) async fn assert_no_drift(&self) {
        assert_eq!(quota::drift(&self.pool).await.unwrap(), []);
    }

    /// Returns topic and data of every event, in the order of their making.
    pub(crate) async fn events(&self) -> Vec<(String, serde_json::Value)> {
        sqlx::query_as("select topic, data - 'timestamp' from outbox order by seq")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }
}

pub(crate) fn grant(id: &str, user: UserId, amount: i64, priority: i32) -> pb::CreateGrantRequest {
    pb::CreateGrantRequest {
        grant_id: id.to_owned(),
        user_id: user.to_string(),
        amount,
        priority,
        source: "test".to_owned(),
    }
}

/// The call of a step of a new saga.
pub(crate) fn action(step: &str) -> StepCall {
    StepCall {
        saga_id: SagaId::new(),
        step: step.to_owned(),
        index: 0,
        op: Op::Action,
        attempt: 1,
        epoch: 1,
        refusable: true,
    }
}

pub(crate) fn compensation_of(action: &StepCall) -> StepCall {
    StepCall {
        op: Op::Compensation,
        refusable: false,
        ..action.clone()
    }
}

/// Puts the metadata of a call on a request.
pub(crate) fn called<T>(call: &StepCall, message: T) -> Request<T> {
    let mut request = Request::new(message);
    call.write(request.metadata_mut());
    request
}

/// Returns the reason of a refusal, which must be in the service's own name.
pub(crate) fn reason<T: std::fmt::Debug>(result: Result<T, Status>) -> String {
    let info = rpc::error::info(&result.unwrap_err()).expect("the status has a reason");
    assert_eq!(info.domain, quota::DOMAIN);
    info.reason
}
