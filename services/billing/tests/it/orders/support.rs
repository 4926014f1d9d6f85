//! Short ways to plans and orders.
//!
//! Payments are rows here, written as the payments' own operations write them: what those do is tested with them.

use ids::{OrderId, PaymentId, SagaId, UserId};
use proto::billing::v1 as pb;
use proto::billing::v1::order_service_client::OrderServiceClient;
use proto::billing::v1::plan_service_client::PlanServiceClient;
use rpc::step::{Op, StepCall};
use token::Channel;
use tonic::Status;

use crate::fake_sagas::called;
use crate::world::{DEADLINE, World, as_user};

pub(crate) const PRICE: i64 = 9_900;
pub(crate) const QUOTA: i64 = 500;

pub(crate) fn plans(world: &World) -> PlanServiceClient<Channel> {
    PlanServiceClient::new(world.public.clone())
}

pub(crate) fn orders(world: &World) -> OrderServiceClient<Channel> {
    OrderServiceClient::new(world.public.clone())
}

/// A membership of 31 days with quota for 30.
pub(crate) fn membership(plan_id: &str) -> pb::PublishPlanRequest {
    pb::PublishPlanRequest {
        plan_id: plan_id.to_owned(),
        kind: pb::PlanKind::Membership.into(),
        title: "专业版 1 个月".to_owned(),
        description: "first line\nsecond line".to_owned(),
        amount: PRICE,
        quota: QUOTA,
        quota_days: 30,
        tier: "pro".to_owned(),
        membership_days: 31,
        ..pb::PublishPlanRequest::default()
    }
}

pub(crate) fn top_up(plan_id: &str) -> pb::PublishPlanRequest {
    pb::PublishPlanRequest {
        plan_id: plan_id.to_owned(),
        kind: pb::PlanKind::TopUp.into(),
        title: "500 次".to_owned(),
        amount: PRICE,
        quota: QUOTA,
        ..pb::PublishPlanRequest::default()
    }
}

impl World {
    pub(crate) async fn publish(&self, request: pb::PublishPlanRequest) -> Result<pb::Plan, Status> {
        let mut operator = PlanServiceClient::new(self.operator.clone());
        let answer = operator.publish_plan(request).await?;
        Ok(answer.into_inner().plan.unwrap())
    }

    pub(crate) async fn buy(
        &self,
        user_id: UserId,
        plan_id: &str,
        request_id: &str,
    ) -> Result<pb::PurchasePlanResponse, Status> {
        let request = pb::PurchasePlanRequest {
            plan_id: plan_id.to_owned(),
            amount: PRICE,
            request_id: request_id.to_owned(),
            ..pb::PurchasePlanRequest::default()
        };
        let answer = orders(self).purchase_plan(as_user(user_id, request)).await?;
        Ok(answer.into_inner())
    }

    /// An order of a membership that waits to be paid.
    pub(crate) async fn order(&self, user_id: UserId) -> pb::Order {
        self.publish(membership("pro")).await.unwrap();
        let bought = self
            .buy(user_id, "pro", &SagaId::new().to_string())
            .await
            .unwrap();
        bought.order.unwrap()
    }

    pub(crate) async fn get_order(&self, order_id: &str) -> pb::Order {
        let mut operator = OrderServiceClient::new(self.operator.clone());
        let order_id = order_id.to_owned();
        let found = operator
            .get_order(pb::GetOrderRequest { order_id })
            .await
            .unwrap();
        found.into_inner().order.unwrap()
    }

    pub(crate) async fn cancel(
        &self,
        user_id: UserId,
        order_id: &str,
        reason: &str,
    ) -> Result<pb::Order, Status> {
        let request = pb::CancelOrderRequest {
            order_id: order_id.to_owned(),
            reason: reason.to_owned(),
        };
        let answer = orders(self).cancel_order(as_user(user_id, request)).await?;
        Ok(answer.into_inner().order.unwrap())
    }

    /// Writes an open payment of an order, as its step does.
    pub(crate) async fn payment(&self, order: &pb::Order, channel: &'static str) -> PaymentId {
        let id = PaymentId::new();
        let no = format!("PAY{}", &id.uuid().simple().to_string()[..26].to_uppercase());
        sqlx::query(
            "insert into payments (id, payment_no, order_id, user_id, channel, channel_order_no, amount, currency,
                 saga_id, expires_at)
             select $1, $2, id, user_id, $3, $2, final_amount, currency, saga_id, expires_at from orders where id = $4",
        )
        .bind(id.uuid())
        .bind(no)
        .bind(channel)
        .bind(order.order_id.parse::<OrderId>().unwrap().uuid())
        .execute(&self.pool)
        .await
        .unwrap();
        id
    }

    /// Pays an order: one transaction, as a payment that is settled makes it.
    pub(crate) async fn pay(&self, order: &pb::Order) -> PaymentId {
        let id = self.payment(order, "wechat").await;
        self.settle(id).await;
        id
    }

    /// An open payment is found to be paid.
    pub(crate) async fn settle(&self, id: PaymentId) {
        let mut tx = self.pool.begin().await.unwrap();
        let order = "update orders set status = 'PAID', paid_at = clock_timestamp(), cancelling = null
             where id = (select order_id from payments where id = $1) and status = 'PENDING'";
        let payment =
            "update payments set status = 'SUCCESS', paid_at = clock_timestamp(), provider_no = payment_no
             where id = $1";
        for sql in [order, payment] {
            let done = sqlx::query(sql).bind(id.uuid()).execute(&mut *tx).await.unwrap();
            assert_eq!(done.rows_affected(), 1);
        }
        tx.commit().await.unwrap();
    }

    /// An open payment is found to be closed.
    pub(crate) async fn close(&self, id: PaymentId) {
        let sql = "update payments set status = 'CLOSED', reason = 'ORDER', closed_at = clock_timestamp()
             where id = $1 and status = 'PENDING'";
        let done = sqlx::query(sql)
            .bind(id.uuid())
            .execute(&self.pool)
            .await
            .unwrap();
        assert_eq!(done.rows_affected(), 1);
    }

    /// Waits until an order has a status.
    pub(crate) async fn until(&self, order_id: &str, status: pb::OrderStatus) -> pb::Order {
        until(async || {
            let order = self.get_order(order_id).await;
            (order.status() == status).then_some(order)
        })
        .await
    }

    /// Returns the data of the facts of a topic.
    pub(crate) async fn facts(&self, topic: &str) -> Vec<serde_json::Value> {
        sqlx::query_scalar("select data from outbox where topic = $1 order by seq")
            .bind(topic)
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        self.value(sql).await
    }

    pub(crate) async fn execute(&self, sql: &'static str) -> u64 {
        sqlx::query(sql)
            .execute(&self.pool)
            .await
            .unwrap()
            .rows_affected()
    }

    pub(crate) async fn refund_order(&self, call: &StepCall, order_id: &str) -> Result<bool, Status> {
        let request = pb::RefundOrderRequest {
            order_id: order_id.to_owned(),
            cause: "TIMEOUT".to_owned(),
        };
        let answer = self.steps.clone().refund_order(called(call, request)).await?;
        Ok(rpc::step::pending(answer.metadata()).is_none())
    }

    pub(crate) async fn cancel_record(&self, call: &StepCall, order_id: &str) -> Result<bool, Status> {
        let request = pb::CancelOrderRecordRequest {
            order_id: order_id.to_owned(),
            cause: "TIMEOUT".to_owned(),
        };
        let answer = self
            .steps
            .clone()
            .cancel_order_record(called(call, request))
            .await?;
        Ok(rpc::step::pending(answer.metadata()).is_none())
    }

    pub(crate) async fn await_payment(
        &self,
        call: &StepCall,
        order_id: &str,
    ) -> Result<Option<pb::AwaitPaymentResponse>, Status> {
        let request = pb::AwaitPaymentRequest {
            order_id: order_id.to_owned(),
            device_id: String::new(),
        };
        let answer = self.steps.clone().await_payment(called(call, request)).await?;
        let is_final = rpc::step::pending(answer.metadata()).is_none();
        Ok(is_final.then(|| answer.into_inner()))
    }

    /// An order whose saga the test carries out: it was created and waits for its payment.
    pub(crate) async fn held(&self, user_id: UserId, plan: pb::PublishPlanRequest) -> (pb::Order, SagaId) {
        let saga_id = SagaId::new();
        let plan = self.publish(plan).await.unwrap();
        let order_id = OrderId::new().to_string();
        let request = pb::CreateOrderRequest {
            order_id: order_id.clone(),
            user_id: user_id.to_string(),
            plan_id: plan.plan_id,
            plan_version: plan.version,
            amount: PRICE,
            pay_within: None,
            saga_id: saga_id.to_string(),
        };
        let call = action(saga_id, "CREATE_ORDER");
        self.steps
            .clone()
            .create_order(called(&call, request))
            .await
            .unwrap();
        let call = action(saga_id, "PROCESS_PAYMENT");
        assert_eq!(self.await_payment(&call, &order_id).await.unwrap(), None);
        (self.get_order(&order_id).await, saga_id)
    }
}

pub(crate) fn action(saga_id: SagaId, step: &str) -> StepCall {
    StepCall {
        saga_id,
        step: step.to_owned(),
        index: 0,
        op: Op::Action,
        attempt: 1,
        epoch: 1,
        refusable: true,
    }
}

pub(crate) fn compensation(saga_id: SagaId, step: &str) -> StepCall {
    StepCall {
        op: Op::Compensation,
        refusable: false,
        ..action(saga_id, step)
    }
}

/// Looks again and again until there is something.
pub(crate) async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let mut polls = tokio::time::interval(std::time::Duration::from_millis(10));
    let found = async {
        loop {
            polls.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    tokio::time::timeout(DEADLINE, found)
        .await
        .expect("it did not come to be in time")
}
