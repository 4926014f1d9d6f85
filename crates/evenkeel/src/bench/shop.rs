//! A shop for measurements: billing and what it needs as processes of their own, and a provider whose answers are quick.

use std::future::Future;
use std::time::{Duration, Instant};

use doubles::pay::Options;
use doubles::wechatpay::{self, WeChatPay};
use ids::UserId;
use proto::billing::v1::order_service_client::OrderServiceClient;
use proto::billing::v1::payment_service_client::PaymentServiceClient;
use proto::billing::v1::plan_service_client::PlanServiceClient;
use proto::billing::v1::{
    Channel as Provider, CreatePaymentRequest, GetOrderRequest, OrderStatus, PlanKind, PublishPlanRequest,
    PurchasePlanRequest,
};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::platform::{ANY_PORT, Platform, until_answered};
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::identity::{Channel, Identity};
use crate::own::Process;
use crate::wiring::settings::Name;

const PLAN: &str = "bench-month";
/// Its price in minor units.
const PRICE: i64 = 4_900;
/// Orders are prepared by so many at a time.
const PREPARED_AT_ONCE: usize = 16;
/// What was begun is done within this time, or the run fails.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const POLL: Duration = Duration::from_millis(50);

/// A shop that sells one plan, with a provider whose answers are quick.
pub(super) struct Shop {
    pub(super) operator: Identity,
    provider: WeChatPay,
    billing: Process,
    pub(super) saga: Process,
    _others: [Process; 2],
}

/// A payment that somebody has asked for.
#[derive(Debug, Clone)]
pub(super) struct Payment {
    pub(super) id: String,
    /// The number under which the provider knows it.
    number: String,
    order_id: String,
}

impl Shop {
    pub(super) async fn open(platform: &Platform) -> Result<Self, Failure> {
        let provider = wechatpay::start("127.0.0.1:0", Options::default()).await;
        let provider =
            provider.map_err(|e| Failure::unavailable("the provider cannot listen").because(&e))?;
        let [quota_steps, billing_steps, gateway_at] = free_addresses().await?;
        let merchant = provider.merchant().write(&platform.directory());
        let merchant = merchant.map_err(|e| Failure::unavailable("cannot write its keys").because(&e))?;
        platform.sealing_keys()?;
        let notify_url = format!("http://{gateway_at}/api/v1/payments/notify");

        let participants = [
            "--participant",
            &format!("evenkeel.quota.v1=http://{quota_steps}"),
            "--participant",
            &format!("evenkeel.billing.v1=http://{billing_steps}"),
        ];
        let quota = platform
            .serve_at(Name::Quota, ANY_PORT, &quota_steps, &[], &[])
            .await?;
        let saga = platform
            .serve_at(Name::Saga, ANY_PORT, ANY_PORT, &participants, &[])
            .await?;
        let provider_url = provider.url();
        let mut envs = vec![
            ("EVENKEEL_SAGA_URL", saga.url()),
            ("EVENKEEL_NOTIFY_URL", notify_url.as_str()),
            ("WECHAT_PAY_URL", provider_url.as_str()),
            ("EVENKEEL_BILLING__IMPORT_STATEMENTS", "false"),
        ];
        envs.extend(merchant.iter().map(|(name, value)| (*name, value.as_str())));
        let billing = platform
            .serve_at(Name::Billing, ANY_PORT, &billing_steps, &[], &envs)
            .await?;
        let peers = [
            ("EVENKEEL_BILLING_URL", billing.url()),
            ("EVENKEEL_QUOTA_URL", quota.url()),
        ];
        let gateway = platform
            .serve_at(Name::Gateway, &gateway_at, ANY_PORT, &[], &peers)
            .await?;
        let shop = Self {
            operator: platform.operator()?,
            provider,
            billing,
            saga,
            _others: [quota, gateway],
        };
        shop.publish().await?;
        Ok(shop)
    }

    pub(super) fn at_billing(&self) -> Result<Channel, Failure> {
        self.operator.channel(self.billing.url(), "billing")
    }

    pub(super) fn failed(&self, status: &tonic::Status) -> Failure {
        client::failure(status, self.billing.url())
    }

    async fn publish(&self) -> Result<(), Failure> {
        let mut plans = PlanServiceClient::new(self.at_billing()?);
        let request = PublishPlanRequest {
            plan_id: PLAN.to_owned(),
            kind: PlanKind::Membership.into(),
            title: "A month".to_owned(),
            amount: PRICE,
            quota: 100,
            tier: "bench".to_owned(),
            membership_days: 30,
            ..PublishPlanRequest::default()
        };
        until_answered(async || {
            let answer = plans
                .publish_plan(client::request(request.clone(), CALL_TIMEOUT))
                .await;
            answer.map(drop).map_err(|status| self.failed(&status))
        })
        .await?;
        // All services are up once the first order can be paid.
        until_answered(async || self.order().await.map(drop)).await
    }

    /// Buys the plan and asks for what pays it.
    pub(super) async fn order(&self) -> Result<Payment, Failure> {
        let mut orders = OrderServiceClient::new(self.at_billing()?);
        let request = PurchasePlanRequest {
            plan_id: PLAN.to_owned(),
            amount: PRICE,
            user_id: UserId::new().to_string(),
            request_id: Uuid::now_v7().simple().to_string(),
        };
        let bought = orders.purchase_plan(client::request(request, CALL_TIMEOUT)).await;
        let bought = bought.map_err(|status| self.failed(&status))?.into_inner();
        let order = bought.order.ok_or_else(|| unfinished("an order"))?;
        let mut payments = PaymentServiceClient::new(self.at_billing()?);
        let request = CreatePaymentRequest {
            order_no: order.order_number,
            amount: PRICE,
            channel: Provider::Wechat.into(),
            ..CreatePaymentRequest::default()
        };
        let made = payments
            .create_payment(client::request(request, CALL_TIMEOUT))
            .await;
        let made = made.map_err(|status| self.failed(&status))?.into_inner();
        Ok(Payment {
            id: made.payment.ok_or_else(|| unfinished("a payment"))?.payment_id,
            number: made.channel_order_no,
            order_id: order.order_id,
        })
    }

    /// An order that was paid and granted.
    pub(super) async fn sale(&self) -> Result<Payment, Failure> {
        let payment = self.order().await?;
        self.pay(&payment)?;
        let mut orders = OrderServiceClient::new(self.at_billing()?);
        let begun = Instant::now();
        loop {
            let request = GetOrderRequest {
                order_id: payment.order_id.clone(),
            };
            let answer = orders.get_order(client::request(request, CALL_TIMEOUT)).await;
            let answer = answer.map_err(|status| self.failed(&status))?.into_inner();
            if answer
                .order
                .is_some_and(|order| order.status() == OrderStatus::Completed)
            {
                return Ok(payment);
            }
            if begun.elapsed() > PATIENCE {
                return Err(unfinished("a sale"));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(super) fn pay(&self, payment: &Payment) -> Result<(), Failure> {
        let paid = self.provider.pay(&payment.number);
        paid.map(drop)
            .ok_or_else(|| unfinished("a payment that can be paid"))
    }
}

pub(super) fn unfinished(what: &str) -> Failure {
    Failure::new(Code::Failed, format!("{what} did not come about in time"))
}

/// Addresses that were free a moment ago: services must know each other's before they start.
async fn free_addresses<const N: usize>() -> Result<[String; N], Failure> {
    let mut listeners = Vec::new();
    let mut addresses = [const { String::new() }; N];
    for address in &mut addresses {
        let failed = |e| Failure::unavailable("there is no free port").because(&e);
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        *address = listener.local_addr().map_err(failed)?.to_string();
        listeners.push(listener);
    }
    Ok(addresses)
}

/// Makes `count` of something, some at a time.
pub(super) async fn prepared<T, F>(count: usize, make: impl Fn() -> F) -> Result<Vec<T>, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    use futures::{StreamExt as _, TryStreamExt as _};
    futures::stream::iter(0..count)
        .map(|_| make())
        .buffer_unordered(PREPARED_AT_ONCE)
        .try_collect()
        .await
}
