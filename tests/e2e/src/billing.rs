//! The billing service of a platform, with doubles of both payment providers.

use std::path::PathBuf;

use doubles::{alipay, pay, wechatpay};
use ids::{UserId, WithdrawalId};
use kms::{Kms, LocalKeys, Place};
use proto::billing::v1::desk_service_client::DeskServiceClient;
use proto::billing::v1::order_service_client::OrderServiceClient;
use proto::billing::v1::payment_service_client::PaymentServiceClient;
use proto::billing::v1::plan_service_client::PlanServiceClient;
use proto::billing::v1::withdrawal_service_client::WithdrawalServiceClient;
use proto::billing::v1::{
    Channel as Provider, CreatePaymentRequest, CreatePaymentResponse, GetOrderRequest, GetPaymentRequest,
    Order, Payment, PlanKind, PublishPlanRequest, PurchasePlanRequest, PurchasePlanResponse,
};
use test_support::{ChildProcess, eventually};
use token::Channel;
use tonic::Status;

use crate::platform::{LONG, Participant, Platform, local};

/// A plan that every platform with billing has: 30 days of `pro`, and 100 units of quota, for 10 yuan.
pub const PLAN: &str = "pro-monthly";
/// Its price, in minor units.
pub const PRICE: i64 = 1_000;
/// Quota it grants.
pub const QUOTA: i64 = 100;

/// How a billing service is opened, where a test wants it otherwise than usual.
#[derive(Debug, Default)]
pub struct Opening {
    /// Where the providers send notifications; the gateway if absent.
    pub notify_url: Option<String>,
    /// How the doubles behave.
    pub doubles: pay::Options,
    /// Further lines of the section `[billing]`.
    pub settings: &'static str,
}

/// The doubles. They stop when this is dropped.
#[derive(Debug)]
pub struct Billing {
    pub wechat: wechatpay::WeChatPay,
    pub alipay: alipay::Alipay,
    /// Seals like the service.
    pub kms: Kms,
}

impl Platform {
    /// Starts the billing service of a platform of one process a service, with doubles of its providers and quick questions to
    /// them, makes it a participant, and publishes [`PLAN`].
    pub async fn open_billing(&mut self) -> Billing {
        self.open_billing_as(Opening::default()).await
    }

    /// The same, with settings.
    pub async fn open_billing_as(&mut self, opening: Opening) -> Billing {
        let wechat = wechatpay::start("127.0.0.1:0", opening.doubles).await;
        let alipay = alipay::start("127.0.0.1:0", opening.doubles).await;
        let billing = Billing {
            wechat: wechat.expect("a free port"),
            alipay: alipay.expect("a free port"),
            kms: self.make_key_file(),
        };
        let gateway = format!("{}/api/v1/payments/notify", self.gateway_url());
        let notify = opening.notify_url.unwrap_or(gateway);
        billing.alipay.tell_transfers_to(&format!("{notify}/alipay"));
        let config = self.scratch.path().join("billing.toml");
        let settings = billing.settings(self, &notify, opening.settings);
        std::fs::write(&config, settings).expect("the directory can be written");
        self.start_billing();
        let steps = self.url(self.ports.billing_steps);
        self.participants
            .insert("evenkeel.billing.v1".to_owned(), Participant::at(steps));
        self.saga = None;
        self.start_orchestrator();
        self.ready().await;
        self.publish(PLAN, false).await;
        billing
    }

    fn key_file(&self) -> PathBuf {
        self.scratch.path().join("kms.json")
    }

    fn make_key_file(&self) -> Kms {
        let file = self.key_file();
        kms::create_file(&file).expect("the directory can be written");
        let keys = LocalKeys::read(&file).expect("the key file was just made");
        Kms::new(kms::Provider::Local(keys), Vec::new())
    }

    /// Starts the billing service's process; the one before must have ended.
    pub fn start_billing(&mut self) {
        let mut command = self.command(&[
            "serve",
            "billing",
            "--listen",
            &local(self.ports.billing),
            "--steps-listen",
            &local(self.ports.billing_steps),
        ]);
        command
            .arg("--config")
            .arg(self.scratch.path().join("billing.toml"));
        self.billing = Some(ChildProcess::spawn(command));
    }

    fn at_billing(&self) -> Channel {
        self.operator(self.ports.billing, "billing")
    }

    pub fn plans(&self) -> PlanServiceClient<Channel> {
        PlanServiceClient::new(self.at_billing())
    }

    pub fn orders(&self) -> OrderServiceClient<Channel> {
        OrderServiceClient::new(self.at_billing())
    }

    pub fn payments(&self) -> PaymentServiceClient<Channel> {
        PaymentServiceClient::new(self.at_billing())
    }

    pub fn withdrawals(&self) -> WithdrawalServiceClient<Channel> {
        WithdrawalServiceClient::new(self.at_billing())
    }

    pub fn desk(&self) -> DeskServiceClient<Channel> {
        DeskServiceClient::new(self.at_billing())
    }

    /// Publishes a plan like [`PLAN`], and waits until the service does so.
    pub async fn publish(&self, plan_id: &str, needs_device: bool) {
        self.publish_plan(PublishPlanRequest {
            plan_id: plan_id.to_owned(),
            kind: PlanKind::Membership.into(),
            title: "Pro for a month".to_owned(),
            amount: PRICE,
            quota: QUOTA,
            tier: "pro".to_owned(),
            membership_days: 30,
            needs_device,
            ..PublishPlanRequest::default()
        })
        .await;
    }

    /// Publishes any plan, and waits until the service does so.
    pub async fn publish_plan(&self, request: PublishPlanRequest) {
        eventually(LONG, || async {
            self.plans().publish_plan(request.clone()).await.is_ok()
        })
        .await;
    }

    /// Buys [`PLAN`], as a client does.
    pub async fn purchase(&self, user: UserId, request_id: &str) -> Result<PurchasePlanResponse, Status> {
        let request = PurchasePlanRequest {
            plan_id: PLAN.to_owned(),
            amount: PRICE,
            user_id: user.to_string(),
            request_id: request_id.to_owned(),
        };
        Ok(self.orders().purchase_plan(request).await?.into_inner())
    }

    /// Asks for what pays an order.
    pub async fn create_payment(
        &self,
        order: &Order,
        channel: Provider,
    ) -> Result<CreatePaymentResponse, Status> {
        let request = CreatePaymentRequest {
            order_no: order.order_number.clone(),
            amount: order.final_amount,
            channel: channel.into(),
            ..CreatePaymentRequest::default()
        };
        Ok(self.payments().create_payment(request).await?.into_inner())
    }

    pub async fn order(&self, order_id: &str) -> Order {
        let request = GetOrderRequest {
            order_id: order_id.to_owned(),
        };
        let answer = self.orders().get_order(request).await.expect("an order");
        answer.into_inner().order.expect("an order")
    }

    pub async fn payment(&self, payment_id: &str) -> Payment {
        let request = GetPaymentRequest {
            payment_id: payment_id.to_owned(),
        };
        let answer = self.payments().get_payment(request).await.expect("a payment");
        answer.into_inner().payment.expect("a payment")
    }
}

impl Billing {
    /// Plays the payer.
    ///
    /// # Panics
    /// If the payment cannot be paid.
    pub fn pay(&self, payment: &CreatePaymentResponse) {
        let channel = payment.payment.as_ref().expect("a payment").channel();
        let paid = match channel {
            Provider::Wechat => self.wechat.pay(&payment.channel_order_no),
            Provider::Alipay => {
                assert!(self.alipay.scan(&payment.channel_order_no));
                self.alipay.pay(&payment.channel_order_no)
            }
            Provider::Unspecified => None,
        };
        assert!(paid.is_some(), "it cannot be paid: {payment:?}");
    }

    /// Writes who gets the money of a withdrawal, as the service does before it starts the saga.
    ///
    /// # Panics
    /// If it cannot be sealed or written.
    pub async fn give_payee(&self, platform: &Platform, id: WithdrawalId) {
        let row = id.uuid().to_string();
        let place = Place {
            table: "billing.payees",
            column: "recipient_sealed",
            row: &row,
        };
        let payee = r#"{"id":"2088101117955611","name":"张三"}"#;
        let sealed = self.kms.seal(place, payee.as_bytes()).await;
        sqlx::query("insert into billing.payees (withdrawal_id, recipient_sealed) values ($1, $2)")
            .bind(id.uuid())
            .bind(sealed.expect("a key file is always there"))
            .execute(platform.sql())
            .await
            .expect("the database answers");
    }

    fn settings(&self, platform: &Platform, notify: &str, more: &str) -> String {
        let file = |name: &str, text: &str| -> PathBuf {
            let path = platform.scratch.path().join(name);
            std::fs::write(&path, text).expect("the directory can be written");
            path
        };
        let wechat = self.wechat.merchant();
        let alipay = self.alipay.merchant();
        format!(
            "[billing]
notify_url = {notify:?}
ask_after = [\"50ms\", \"100ms\", \"200ms\"]
import_statements = false
{more}

[kms.local]
file = {:?}

[providers.wechat]
app_id = {:?}
merchant_id = {:?}
serial = {:?}
private_key_path = {:?}
api_v3_key = {:?}
transfer_scene = \"1005\"
transfer_reports = [[\"岗位类型\", \"推广员\"]]
url = {:?}

[providers.alipay]
app_id = {:?}
merchant_id = {:?}
private_key_path = {:?}
app_certificate_path = {:?}
alipay_certificate_path = {:?}
roots_path = {:?}
url = {:?}
",
            platform.key_file(),
            wechat.app_id,
            wechat.merchant_id,
            wechat.serial,
            file("wechat.key.pem", &wechat.private_key),
            wechat.api_v3_key,
            self.wechat.url(),
            alipay.app_id,
            alipay.merchant_id,
            file("alipay.key", &alipay.private_key),
            file("alipay.app.crt", &alipay.app_certificate),
            file("alipay.platform.crt", &alipay.alipay_certificate),
            file("alipay.roots.crt", &alipay.roots),
            self.alipay.url(),
        )
    }
}
