//! The story of money: a plan is bought, paid by scanning and refunded, while the provider fails in between.

use std::time::{Duration, Instant};

use doubles::pay::{Behaviour, Operation, Rule};
use proto::billing::v1::plan_service_client::PlanServiceClient;
use proto::billing::v1::{PlanKind, PublishPlanRequest};
use serde_json::{Value, json};

use super::stage::Stage;
use super::web::{Answer, Person};
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};

const PLAN: &str = "demo-month";
/// Its price in minor units, and what it grants.
const PRICE: i64 = 1_990;
const QUOTA: i64 = 100;
/// Nothing here takes longer.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(50);

/// Plays it.
pub(super) async fn bought_and_refunded(stage: &mut Stage<'_>) -> Result<(), Failure> {
    publish(stage).await?;
    let person = stage.web.register().await?;
    let order = buy(stage, &person).await?;
    let payment = pay(stage, &person, &order).await?;
    let paid = until_order(stage, &person, &order, "COMPLETED").await?;
    let failed = questions_to_come(stage).await? == 0;
    stage.narrator.promise(
        paid["paidAt"].is_string() && failed,
        "the order is COMPLETED, although no notification arrived and two questions were answered 503",
    )?;
    let before = stage.balance(&person).await?;
    stage.narrator.promise(
        before.available == QUOTA,
        "the quota of the plan is granted, once",
    )?;
    stage
        .narrator
        .promise(is_member(stage, &person).await?, "the membership is open")?;

    let task = stage.create_task(&person, "summarize", "Paid for.", None).await?;
    stage.end(task.text("sagaId")).await?;
    let used = stage.balance(&person).await?;
    stage.narrator.quota(&before, &used)?;

    refund(stage, &person, &payment).await?;
    let refunded = until_order(stage, &person, &order, "REFUNDED").await?;
    stage.narrator.promise(
        refunded["refundedAmount"] == PRICE,
        "the money is back, although the answer to the refund was lost",
    )?;
    let books = books(stage, &payment).await?;
    let refunds = books["refunds"].as_array().map_or(0, Vec::len);
    stage.narrator.promise(
        refunds == 1 && books["order"]["state"] == "paid",
        "the provider's books have one payment and one refund, none doubled",
    )?;
    let after = until_clawed_back(stage, &person).await?;
    stage.narrator.quota(&used, &after)?;
    stage.narrator.promise(
        after.available == 0 && after.consumed == 1,
        "what was left of the quota is taken back; what was consumed stays so",
    )?;
    let gone = !is_member(stage, &person).await?;
    stage.narrator.promise(gone, "the membership is over")
}

async fn publish(stage: &Stage<'_>) -> Result<(), Failure> {
    let operator = stage.places.operator()?;
    let mut plans = PlanServiceClient::new(operator.channel(&stage.places.billing, "billing")?);
    let request = PublishPlanRequest {
        plan_id: PLAN.to_owned(),
        kind: PlanKind::Membership.into(),
        title: "A month on board".to_owned(),
        amount: PRICE,
        quota: QUOTA,
        tier: "crew".to_owned(),
        membership_days: 30,
        ..PublishPlanRequest::default()
    };
    plans
        .publish_plan(client::request(request, CALL_TIMEOUT))
        .await
        .map_err(|status| client::failure(&status, &stage.places.billing))?;
    Ok(())
}

/// Buys the plan; returns the order's id and number.
async fn buy(stage: &Stage<'_>, person: &Person) -> Result<(String, String), Failure> {
    let body = json!({ "planId": PLAN, "amount": PRICE });
    let bought = stage
        .web
        .post("/api/v1/orders/purchase", Some(person), None, body)
        .await?;
    let order = &wanted(&bought, "orders/purchase")?["order"];
    let text = |name: &str| order[name].as_str().unwrap_or_default().to_owned();
    let (id, number) = (text("orderId"), text("orderNumber"));
    stage.narrator.say(&format!(
        "POST /orders/purchase answered {number}, {}.",
        text("status")
    ))?;
    Ok((id, number))
}

/// Shows the code and scans it. The provider then tells nobody, and does not answer twice. Returns the payment's id and number.
async fn pay(
    stage: &Stage<'_>,
    person: &Person,
    (_, order_no): &(String, String),
) -> Result<(String, String), Failure> {
    let body = json!({ "orderNo": order_no, "amount": PRICE, "channel": "WECHAT" });
    let made = stage
        .web
        .post("/api/v1/payments", Some(person), None, body)
        .await?;
    let made = wanted(&made, "payments")?;
    let text = |name: &str| made[name].as_str().unwrap_or_default().to_owned();
    let (id, number) = (text("paymentId"), text("channelOrderNo"));
    stage.narrator.say(&format!(
        "POST /payments answered a code to scan: {}",
        text("paymentUrl")
    ))?;
    program(
        stage,
        &[
            Rule::times(10, Operation::NotifyPayment, Behaviour::Lose),
            Rule::times(2, Operation::Query, Behaviour::Status(503)),
        ],
    )
    .await?;
    let paid = stage
        .web
        .provider("POST", &format!("{}/_orders/{number}/pay", payer(stage)?), None)
        .await?;
    wanted(&paid, "the payer")?;
    stage
        .narrator
        .say("Somebody scans it and pays. The provider loses its notifications, and answers two questions with 503.")?;
    Ok((id, number))
}

async fn refund(stage: &Stage<'_>, person: &Person, (id, _): &(String, String)) -> Result<(), Failure> {
    let mut lost = Rule::times(1, Operation::Refund, Behaviour::Status(503));
    lost.effect = Some(true);
    program(
        stage,
        &[lost, Rule::times(10, Operation::NotifyRefund, Behaviour::Lose)],
    )
    .await?;
    let path = format!("/api/v1/payments/{id}/refund");
    let body = json!({ "reason": "changed my mind" });
    let asked = stage.web.post(&path, Some(person), None, body).await?;
    let status = wanted(&asked, "refund")?["refund"]["status"].clone();
    stage.narrator.say(&format!(
        "POST /payments/…/refund answered at once: {}. The provider takes it, and its answer is lost.",
        status.as_str().unwrap_or_default()
    ))
}

async fn until_order(
    stage: &Stage<'_>,
    person: &Person,
    (id, number): &(String, String),
    status: &str,
) -> Result<Value, Failure> {
    let begun = Instant::now();
    loop {
        let order = stage.web.get(&format!("/api/v1/orders/{id}"), person).await?;
        if order.text("status") == status {
            return Ok(order.body);
        }
        if begun.elapsed() > PATIENCE {
            let late = format!("{number} is {} and not {status}", order.text("status"));
            return Err(Failure::new(Code::Failed, late));
        }
        tokio::time::sleep(POLL).await;
    }
}

/// The last step of the refund takes the quota back.
async fn until_clawed_back(
    stage: &mut Stage<'_>,
    person: &Person,
) -> Result<proto::quota::v1::Balance, Failure> {
    let begun = Instant::now();
    loop {
        let balance = stage.balance(person).await?;
        if balance.available == 0 || begun.elapsed() > PATIENCE {
            return Ok(balance);
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn is_member(stage: &Stage<'_>, person: &Person) -> Result<bool, Failure> {
    let answer = stage.web.get("/api/v1/memberships", person).await?;
    let memberships = wanted(&answer, "memberships")?["memberships"].clone();
    let all = memberships.as_array().cloned().unwrap_or_default();
    Ok(all.iter().any(|membership| membership["active"] == true))
}

async fn books(stage: &Stage<'_>, (_, number): &(String, String)) -> Result<Value, Failure> {
    let url = format!("{}/_orders/{number}", payer(stage)?);
    let answer = stage.web.provider("GET", &url, None).await?;
    wanted(&answer, "the provider's books").cloned()
}

/// Questions that the provider will still answer with 503.
async fn questions_to_come(stage: &Stage<'_>) -> Result<usize, Failure> {
    let url = format!("{}/_program", payer(stage)?);
    let answer = stage.web.provider("GET", &url, None).await?;
    let rules = wanted(&answer, "the programme")?
        .as_array()
        .cloned()
        .unwrap_or_default();
    Ok(rules
        .iter()
        .filter(|rule| rule["on"] == "query" && rule["times"] != 0)
        .count())
}

async fn program(stage: &Stage<'_>, rules: &[Rule]) -> Result<(), Failure> {
    let url = format!("{}/_program", payer(stage)?);
    let answer = stage.web.provider("PUT", &url, Some(json!(rules))).await?;
    wanted(&answer, "the programme").map(|_| ())
}

fn payer<'s>(stage: &'s Stage<'_>) -> Result<&'s str, Failure> {
    let found = stage.places.payers.iter().find(|(name, _)| *name == "WeChat Pay");
    found.map(|(_, url)| url.as_str()).ok_or_else(|| {
        Failure::new(
            Code::Failed,
            "WeChat Pay is configured, and no double: nobody pays here",
        )
    })
}

fn wanted<'a>(answer: &'a Answer, what: &str) -> Result<&'a Value, Failure> {
    if (200..300).contains(&answer.status) {
        return Ok(&answer.body);
    }
    let told = format!("{what} answered {}: {}", answer.status, answer.body);
    Err(Failure::new(Code::Failed, told))
}
