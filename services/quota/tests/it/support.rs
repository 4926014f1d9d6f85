//! A running service and short ways to call it.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    supervisor: Supervisor,
    jobs: Mutex<Vec<quota::Job>>,
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
        let config = quota::Config {
            low_below: LOW_BELOW,
            ..quota::Config::default()
        };
        let service = quota::build(&config, deps).unwrap();
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
            supervisor,
            jobs: Mutex::new(service.jobs),
        }
    }

    /// Begins the background work, once.
    pub(crate) fn run_jobs(&self) {
        for job in std::mem::take(&mut *self.jobs.lock().unwrap()) {
            let stop = self.shutdown.token();
            self.supervisor.spawn(job.name, async move {
                (job.run)(stop).await;
                Ok::<_, Infallible>(())
            });
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
            ..pb::ReserveQuotaRequest::default()
        };
        let response = self.public.clone().reserve_quota(request).await?;
        Ok(response.into_inner().reservation.unwrap())
    }

    pub(crate) async fn confirm(&self, task: TaskId) -> Result<pb::Reservation, Status> {
        self.confirm_part(task, 0).await
    }

    pub(crate) async fn confirm_part(&self, task: TaskId, amount: i64) -> Result<pb::Reservation, Status> {
        let request = pb::ConfirmReservationRequest {
            task_id: task.to_string(),
            amount,
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

    /// Lets a task's reservation stand longer.
    pub(crate) async fn extend(&self, task: TaskId, seconds: i64) -> Result<pb::Reservation, Status> {
        let request = pb::ExtendReservationRequest {
            task_id: task.to_string(),
            hold_for: Some(prost_types::Duration { seconds, nanos: 0 }),
        };
        let response = self.public.clone().extend_reservation(request).await?;
        Ok(response.into_inner().reservation.unwrap())
    }

    /// Takes an order's quota back; everything if `amount` is 0.
    pub(crate) async fn claw_back(
        &self,
        user: UserId,
        order: &str,
        id: &str,
        amount: i64,
    ) -> Result<pb::ClawedBack, Status> {
        let request = pb::ClawBackGrantsRequest {
            clawback_id: id.to_owned(),
            user_id: user.to_string(),
            source_type: "order".to_owned(),
            source_id: order.to_owned(),
            amount,
        };
        let response = self.public.clone().claw_back_grants(request).await?;
        Ok(response.into_inner().clawed_back.unwrap())
    }

    /// Moves the end of a task's reservation into the past.
    pub(crate) async fn run_out(&self, task: TaskId) {
        let done = sqlx::query(
            "update quota_transactions set expires_at = clock_timestamp() - interval '1 s' where task_id = $1",
        )
        .bind(task.uuid())
        .execute(&self.pool)
        .await
        .unwrap();
        assert_eq!(done.rows_affected(), 1);
    }

    /// Moves the end of a grant into the past.
    pub(crate) async fn end_grant(&self, grant_id: &str) {
        let done = sqlx::query(
            "update quota_grant set expires_at = clock_timestamp() - interval '1 s' where grant_id = $1",
        )
        .bind(grant_id)
        .execute(&self.pool)
        .await
        .unwrap();
        assert_eq!(done.rows_affected(), 1);
    }

    /// Returns granted, available, reserved, consumed. Nothing may have expired or been clawed back.
    pub(crate) async fn balance(&self, user: UserId) -> [i64; 4] {
        let [granted, available, reserved, consumed, expired, clawed_back] = self.whole_balance(user).await;
        assert_eq!((expired, clawed_back), (0, 0));
        [granted, available, reserved, consumed]
    }

    /// Returns granted, available, reserved, consumed, expired, clawed back.
    pub(crate) async fn whole_balance(&self, user: UserId) -> [i64; 6] {
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
            balance.expired,
            balance.clawed_back,
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
        note: "test".to_owned(),
        ..pb::CreateGrantRequest::default()
    }
}

/// A grant for a line of an order.
pub(crate) fn bought(order: &str, line: u32, user: UserId, amount: i64) -> pb::CreateGrantRequest {
    pb::CreateGrantRequest {
        kind: pb::GrantKind::Purchase.into(),
        source: Some(pb::GrantSource {
            r#type: "order".to_owned(),
            id: order.to_owned(),
            line,
        }),
        ..grant(&format!("order:{order}:{line}"), user, amount, 0)
    }
}

/// A time that is `seconds` from now.
pub(crate) fn in_seconds(seconds: i64) -> Option<prost_types::Timestamp> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    Some(prost_types::Timestamp {
        seconds: i64::try_from(now).unwrap() + seconds,
        nanos: 0,
    })
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
