//! Users: they buy, pay, cancel, want their money back, and take commission out. Whoever gets no answer asks again.

use std::sync::Arc;
use std::time::Duration;

use doubles::pay::TransferState;
use futures::future::{join, join_all};
use ids::UserId;
use proto::billing::v1::{
    CancelOrderRequest, Channel, CreatePaymentRequest, CreateRefundRequest, CreateWithdrawalRequest,
    CreditCommissionRequest, GetOrderRequest, Order, OrderStatus, PurchasePlanRequest,
};
use tokio::time::{Instant, interval, timeout};
use tonic::{Code, Response, Status};

use crate::programme::{Accepts, Ask, Pays, Programme, Purchase, Withdrawal};
use crate::world::World;

/// One call is waited for so long: longer than the service waits for a saga.
const PATIENCE: Duration = Duration::from_secs(12);
/// Then whoever has no answer gives up.
const GIVES_UP: Duration = Duration::from_secs(25);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// What the user of a withdrawal has earned.
const EARNED: i64 = 3_000;

/// Plays what a seed makes happen to its user.
pub(crate) async fn play(world: Arc<World>, programme: Programme) {
    world.at(programme.begins_ms).await;
    world.billing.wechat.program_more(programme.wechat.clone());
    world.billing.alipay.program_more(programme.alipay.clone());
    let (seed, user) = (programme.seed, world.user(programme.seed));
    let purchases = programme.purchases.iter().zip(0..);
    let purchases = purchases.map(async |(purchase, number)| {
        buy(&world, purchase, user, format!("{seed}-{number}")).await;
        if purchase.is_quick() {
            world.errand_done();
        }
    });
    let withdrawals = programme.withdrawals.iter().zip(0..);
    let withdrawals = withdrawals.map(async |(withdrawal, number)| {
        withdraw(&world, withdrawal, user, format!("{seed}-{number}")).await;
        world.errand_done();
    });
    join(join_all(purchases), join_all(withdrawals)).await;
}

/// Asks until something is said that is not "later"; `None` if that takes too long.
async fn ask<T, F>(mut call: impl FnMut() -> F) -> Option<Result<T, Status>>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let mut attempts = interval(PAUSE);
    let answered = async {
        loop {
            attempts.tick().await;
            match timeout(PATIENCE, call()).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) if is_no(&status) => return Err(status),
                Ok(Err(_)) | Err(_) => {}
            }
        }
    };
    timeout(GIVES_UP, answered).await.ok()
}

fn is_no(status: &Status) -> bool {
    [
        Code::InvalidArgument,
        Code::NotFound,
        Code::AlreadyExists,
        Code::FailedPrecondition,
        Code::OutOfRange,
    ]
    .contains(&status.code())
}

async fn buy(world: &World, purchase: &Purchase, user: UserId, name: String) {
    world.at(purchase.begins_ms).await;
    let request = PurchasePlanRequest {
        plan_id: purchase.plan.id().to_owned(),
        amount: purchase.plan.price(),
        user_id: user.to_string(),
        request_id: name.clone(),
    };
    let copies = (0..purchase.copies).map(|_| ordered(world, &request));
    let orders: Vec<Order> = join_all(copies).await.into_iter().flatten().collect();
    let Some(order) = orders.first() else {
        return;
    };
    if orders.iter().any(|other| other.order_id != order.order_id) {
        world.complain(format!("{name}: one request made several orders: {orders:?}"));
    }
    let made_ms = world.now_ms();
    let cancels = async {
        let Some(after_ms) = purchase.cancels_after_ms else {
            return;
        };
        world.at(made_ms + after_ms).await;
        let request = CancelOrderRequest {
            order_id: order.order_id.clone(),
            reason: "changed my mind".to_owned(),
        };
        // Whether that is still possible is the service's to say.
        let _: Option<Result<_, _>> = ask(|| {
            let (mut orders, request) = (world.orders.clone(), request.clone());
            async move { orders.cancel_order(request).await }
        })
        .await;
    };
    join(cancels, pay(world, purchase, order, made_ms)).await;
}

/// Buys until there is an order; `None` if it is refused.
async fn ordered(world: &World, request: &PurchasePlanRequest) -> Option<Order> {
    let end = Instant::now() + GIVES_UP;
    while Instant::now() < end {
        let answer = ask(|| {
            let (mut orders, request) = (world.orders.clone(), request.clone());
            async move { orders.purchase_plan(request).await }
        });
        match answer.await {
            Some(Ok(bought)) if bought.order.is_some() => return bought.order,
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return None,
        }
    }
    None
}

async fn pay(world: &World, purchase: &Purchase, order: &Order, made_ms: u64) {
    let other = match purchase.channel {
        Channel::Alipay => Channel::Wechat,
        Channel::Wechat | Channel::Unspecified => Channel::Alipay,
    };
    let channels = match purchase.pays {
        Pays::Both => vec![purchase.channel, other],
        Pays::Never | Pays::Once | Pays::Twice | Pays::AfterCancelling | Pays::AtTheEnd => {
            vec![purchase.channel]
        }
    };
    let made = join_all(channels.into_iter().map(|channel| begin(world, order, channel))).await;
    let made: Vec<(Channel, String, String)> = made.into_iter().flatten().collect();
    let moment = match purchase.pays {
        Pays::Never => return,
        Pays::Once | Pays::Twice | Pays::Both => made_ms + purchase.pays_after_ms,
        Pays::AfterCancelling => {
            made_ms + purchase.cancels_after_ms.unwrap_or_default() + purchase.pays_after_ms
        }
        // The order was made a little before it was seen, and ends a minute after that.
        Pays::AtTheEnd => made_ms + 58_500 + purchase.pays_after_ms,
    };
    world.at(moment).await;
    let times = if purchase.pays == Pays::Twice { 2 } else { 1 };
    let paid = made.iter().flat_map(|made| (0..times).map(move |_| made));
    let paid = join_all(paid.map(|(channel, number, _)| scan_and_pay(world, *channel, number))).await;
    if paid.contains(&true) {
        for (_, _, payment_id) in &made {
            refund(world, &purchase.refunds, order, payment_id).await;
        }
    }
}

/// Asks for something to scan. Returns the channel, its number, and the payment.
async fn begin(world: &World, order: &Order, channel: Channel) -> Option<(Channel, String, String)> {
    // One that the channel did not take is asked for anew.
    for attempt in 0..3 {
        let request = CreatePaymentRequest {
            order_no: order.order_number.clone(),
            amount: order.final_amount,
            channel: channel.into(),
            request_id: format!("{}-{attempt}", channel.as_str_name()),
        };
        let answer = ask(|| {
            let (mut payments, request) = (world.payments.clone(), request.clone());
            async move { payments.create_payment(request).await }
        });
        if let Ok(made) = answer.await? {
            return Some((channel, made.channel_order_no, made.payment_id));
        }
    }
    None
}

/// Pays, if that is possible within a while.
async fn scan_and_pay(world: &World, channel: Channel, number: &str) -> bool {
    let mut attempts = interval(PAUSE);
    let end = Instant::now() + Duration::from_secs(3);
    while Instant::now() < end {
        attempts.tick().await;
        let paid = match channel {
            Channel::Alipay => {
                world.billing.alipay.scan(number);
                world.billing.alipay.pay(number)
            }
            Channel::Wechat | Channel::Unspecified => world.billing.wechat.pay(number),
        };
        if paid.is_some() {
            return true;
        }
    }
    false
}

async fn refund(world: &World, asks: &[Ask], order: &Order, payment_id: &str) {
    if asks.is_empty() || !completed(world, order).await {
        return;
    }
    let since_ms = world.now_ms();
    let asked = asks.iter().map(async |wanted| {
        world.at(since_ms + wanted.after_ms).await;
        let request = CreateRefundRequest {
            payment_id: payment_id.to_owned(),
            amount: wanted.amount,
            reason: "not what I wanted".to_owned(),
            request_id: wanted.request.to_string(),
        };
        let copies = (0..wanted.copies).map(|_| {
            ask(|| {
                let (mut payments, request) = (world.payments.clone(), request.clone());
                async move { payments.create_refund(request).await }
            })
        });
        let answers = join_all(copies).await;
        let refunds = answers.into_iter().flatten().flatten();
        let refunds = refunds.filter_map(|begun| Some(begun.refund?.refund_id));
        let mut refunds: Vec<String> = refunds.collect();
        refunds.dedup();
        if refunds.len() > 1 {
            world.complain(format!(
                "{payment_id}: one request made several refunds: {refunds:?}"
            ));
        }
    });
    join_all(asked).await;
}

/// Waits until an order is completed; false if it comes to another end, or to none for too long.
async fn completed(world: &World, order: &Order) -> bool {
    let mut looks = interval(PAUSE);
    let end = Instant::now() + GIVES_UP;
    while Instant::now() < end {
        looks.tick().await;
        let request = GetOrderRequest {
            order_id: order.order_id.clone(),
        };
        let Ok(answer) = world.orders.clone().get_order(request).await else {
            continue;
        };
        match answer.into_inner().order.unwrap_or_default().status() {
            OrderStatus::Completed => return true,
            OrderStatus::Cancelled | OrderStatus::Refunded => return false,
            OrderStatus::Unspecified | OrderStatus::Pending | OrderStatus::Paid => {}
        }
    }
    false
}

async fn withdraw(world: &World, withdrawal: &Withdrawal, user: UserId, name: String) {
    world.at(withdrawal.begins_ms).await;
    let credit = CreditCommissionRequest {
        credit_id: name.clone(),
        user_id: user.to_string(),
        amount: EARNED,
        note: "invited somebody".to_owned(),
    };
    let credited = (0..withdrawal.copies).map(|_| {
        ask(|| {
            let (mut withdrawals, credit) = (world.withdrawals.clone(), credit.clone());
            async move { withdrawals.credit_commission(credit).await }
        })
    });
    join_all(credited).await;
    let recipient = match withdrawal.channel {
        Channel::Alipay => "2088102146225135",
        Channel::Wechat | Channel::Unspecified => "oUpF8uMuAJO_M2pxb1Q9zNjWeS6o",
    };
    let request = CreateWithdrawalRequest {
        user_id: user.to_string(),
        amount: withdrawal.amount,
        channel: withdrawal.channel.into(),
        recipient: recipient.to_owned(),
        request_id: name.clone(),
        ..CreateWithdrawalRequest::default()
    };
    let copies = join_all((0..withdrawal.copies).map(|_| frozen(world, &request))).await;
    let mut numbers: Vec<String> = copies.into_iter().flatten().collect();
    numbers.dedup();
    if numbers.len() > 1 {
        world.complain(format!(
            "{name}: one request made several withdrawals: {numbers:?}"
        ));
    }
    let Some(number) = numbers.first() else {
        return;
    };
    let state = match withdrawal.accepts {
        Accepts::Yes => TransferState::Succeeded,
        Accepts::No => TransferState::Failed,
        Accepts::Never => return,
    };
    if withdrawal.channel == Channel::Wechat {
        let mut looks = interval(PAUSE);
        let end = Instant::now() + GIVES_UP;
        while world.billing.wechat.end_transfer(number, state).is_none() && Instant::now() < end {
            looks.tick().await;
        }
    }
}

/// Asks for a withdrawal until there is one; `None` if it is refused. Returns its number.
async fn frozen(world: &World, request: &CreateWithdrawalRequest) -> Option<String> {
    let end = Instant::now() + GIVES_UP;
    while Instant::now() < end {
        let answer = ask(|| {
            let (mut withdrawals, request) = (world.withdrawals.clone(), request.clone());
            async move { withdrawals.create_withdrawal(request).await }
        });
        match answer.await {
            Some(Ok(begun)) => {
                if let Some(withdrawal) = begun.withdrawal {
                    return Some(withdrawal.withdrawal_no);
                }
            }
            Some(Err(_)) | None => return None,
        }
    }
    None
}
