//! A platform with its doubles, and what everybody on it needs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use doubles::pay::Options;
use e2e::{Billing, Devices, Opening, Platform};
use ids::UserId;
use proto::billing::v1::desk_service_client::DeskServiceClient;
use proto::billing::v1::order_service_client::OrderServiceClient;
use proto::billing::v1::payment_service_client::PaymentServiceClient;
use proto::billing::v1::withdrawal_service_client::WithdrawalServiceClient;
use proto::billing::v1::{PlanKind, PublishPlanRequest};
use sqlx::PgPool;
use test_support::TestDatabase;
use token::Channel;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::programme::Plan;
use crate::recorder::Recorder;

/// `billing.case_after`.
pub(crate) const CASE_AFTER: Duration = Duration::from_secs(10);
const SETTINGS: &str = "pay_within = \"1m\"\ncase_after = \"10s\"";
/// More than all who want one.
const DEVICES: u32 = 1_000;

/// What everybody needs.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) orders: OrderServiceClient<Channel>,
    pub(crate) payments: PaymentServiceClient<Channel>,
    pub(crate) withdrawals: WithdrawalServiceClient<Channel>,
    pub(crate) desk: DeskServiceClient<Channel>,
    pub(crate) billing: Arc<Billing>,
    pub(crate) recorder: Recorder,
    pub(crate) db: PgPool,
    pub(crate) begun: Instant,
    /// Errands that are not done.
    pub(crate) errands: watch::Sender<usize>,
    /// Seeds by their users.
    pub(crate) users: Mutex<BTreeMap<String, u64>>,
    /// What somebody was answered that cannot be.
    pub(crate) complaints: Mutex<Vec<String>>,
}

/// The platform itself, whose processes can be killed.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) platform: Platform,
    pub(crate) devices: Devices,
    pub(crate) world: Arc<World>,
}

impl Stage {
    /// Starts everything.
    pub(crate) async fn set() -> Self {
        let database = TestDatabase::create(&[]).await;
        // Several platforms share a server.
        let environment = vec![("EVENKEEL_DATABASE__MAX".to_owned(), "14".to_owned())];
        let mut platform = Platform::start_on(database, environment).await;
        platform.open_front_door().await;
        let (recorder, notify_url) = Recorder::start(&platform.gateway_url()).await;
        let opening = Opening {
            notify_url: Some(notify_url),
            // Repetitions that went on for a day last 3 minutes.
            doubles: Options {
                schedule_scale: 0.002,
                ..Options::default()
            },
            settings: SETTINGS,
        };
        let billing = Arc::new(platform.open_billing_as(opening).await);
        let devices = platform.open_devices(DEVICES).await;
        let pack = PublishPlanRequest {
            plan_id: Plan::TopUp.id().to_owned(),
            kind: PlanKind::TopUp.into(),
            title: "A little more".to_owned(),
            amount: Plan::TopUp.price(),
            quota: 7,
            ..PublishPlanRequest::default()
        };
        let tier = PublishPlanRequest {
            plan_id: Plan::Tier.id().to_owned(),
            kind: PlanKind::Membership.into(),
            title: "Only the tier".to_owned(),
            amount: Plan::Tier.price(),
            tier: "pro".to_owned(),
            membership_days: 7,
            ..PublishPlanRequest::default()
        };
        platform.publish_plan(pack).await;
        platform.publish_plan(tier).await;
        platform.publish(Plan::Device.id(), true).await;
        let world = Arc::new(World {
            orders: platform.orders(),
            payments: platform.payments(),
            withdrawals: platform.withdrawals(),
            desk: platform.desk(),
            billing,
            recorder,
            db: platform.sql().clone(),
            begun: Instant::now(),
            errands: watch::Sender::new(0),
            users: Mutex::default(),
            complaints: Mutex::default(),
        });
        Self {
            platform,
            devices,
            world,
        }
    }
}

impl World {
    /// Waits for a moment of the programme, in milliseconds after the start of all. It is not a wait for anything.
    pub(crate) async fn at(&self, ms: u64) {
        tokio::time::sleep_until(self.begun + Duration::from_millis(ms)).await;
    }

    /// Milliseconds since the start of all.
    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Counts what is to be done while everything goes on breaking.
    pub(crate) fn errands_begin(&self, more: usize) {
        self.errands.send_modify(|errands| *errands += more);
    }

    /// One of them is done.
    pub(crate) fn errand_done(&self) {
        self.errands.send_modify(|errands| *errands -= 1);
    }

    /// Waits until all errands are done, for a bounded time.
    pub(crate) async fn errands_done(&self, within: Duration) {
        let mut errands = self.errands.subscribe();
        let done = errands.wait_for(|errands| *errands == 0);
        // Whoever takes longer has no more trouble.
        let _ = timeout(within, done).await;
    }

    /// A user of a seed.
    pub(crate) fn user(&self, seed: u64) -> UserId {
        let user = UserId::new();
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.insert(user.to_string(), seed);
        user
    }

    /// The seed whose user this is.
    pub(crate) fn seed_of(&self, user: &str) -> Option<u64> {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        users.get(user).copied()
    }

    /// Notes what cannot be.
    pub(crate) fn complain(&self, text: String) {
        let mut complaints = self.complaints.lock().unwrap_or_else(PoisonError::into_inner);
        complaints.push(text);
    }

    pub(crate) fn complaints(&self) -> Vec<String> {
        self.complaints
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
