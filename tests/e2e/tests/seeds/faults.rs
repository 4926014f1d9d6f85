//! How the doubles of a seed misbehave.

use doubles::allocator;
use doubles::pay::{Behaviour, Operation, RefundState, Rule, TransferState};
use proto::billing::v1::Channel;
use rand::Rng as _;
use rand::rngs::StdRng;

use crate::programme::one;

/// What the double of a channel does besides answering.
pub(crate) fn rules(random: &mut StdRng, channel: Channel) -> Vec<Rule> {
    (0..random.random_range(0..=5))
        .map(|_| rule(random, channel))
        .collect()
}

fn rule(random: &mut StdRng, channel: Channel) -> Rule {
    use Operation as O;
    let on = *one(
        random,
        &[
            O::Create,
            O::Query,
            O::Close,
            O::Refund,
            O::Refund,
            O::Refund,
            O::QueryRefund,
            O::Transfer,
            O::QueryTransfer,
            O::NotifyPayment,
            O::NotifyPayment,
            O::NotifyPayment,
            O::NotifyRefund,
            O::NotifyRefund,
            O::NotifyTransfer,
        ],
    );
    let notifies = matches!(on, O::NotifyPayment | O::NotifyRefund | O::NotifyTransfer);
    let (behaviour, may_act) = if notifies {
        (told(random, channel), false)
    } else {
        answered(random, channel, on)
    };
    let rule = Rule::times(random.random_range(1..=2), on, behaviour.clone());
    // What hangs holds somebody up for 10 s.
    let rule = Rule {
        times: if behaviour == Behaviour::Hang {
            Some(1)
        } else {
            rule.times
        },
        ..rule
    };
    let delays = *one(random, &[0, 0, 0, 300, 2_000]);
    let rule = rule.delay_ms(if behaviour == Behaviour::Answer {
        1_500
    } else {
        delays
    });
    if may_act && random.random_bool(0.5) {
        rule.with_effect()
    } else {
        rule
    }
}

/// What becomes of a notification.
fn told(random: &mut StdRng, channel: Channel) -> Behaviour {
    let times = random.random_range(2..=5);
    let all = [
        Behaviour::Answer,
        Behaviour::Lose,
        Behaviour::Lose,
        Behaviour::Duplicate(times),
        Behaviour::Reorder,
        Behaviour::WrongAmount,
        Behaviour::WrongKey,
        // Alipay sends no probes.
        Behaviour::Probe,
    ];
    let known = if channel == Channel::Wechat {
        &all[..]
    } else {
        &all[..7]
    };
    one(random, known).clone()
}

/// What becomes of a call, and whether that leaves open if it has an effect.
fn answered(random: &mut StdRng, channel: Channel, on: Operation) -> (Behaviour, bool) {
    let after_ms = random.random_range(0..2_000);
    let own = random.random_bool(0.5);
    match on {
        Operation::Refund if own => {
            let state = *one(
                random,
                &[
                    RefundState::Succeeded,
                    RefundState::Closed,
                    RefundState::Abnormal,
                    RefundState::Processing,
                ],
            );
            return (Behaviour::RefundEnds { state, after_ms }, false);
        }
        Operation::Transfer if own => {
            let state = *one(random, &[TransferState::Succeeded, TransferState::Failed]);
            return (Behaviour::TransferEnds { state, after_ms }, false);
        }
        Operation::Query | Operation::QueryRefund | Operation::QueryTransfer if own => {
            return (Behaviour::WrongAmount, false);
        }
        Operation::Create
        | Operation::Query
        | Operation::Close
        | Operation::Refund
        | Operation::QueryRefund
        | Operation::Transfer
        | Operation::QueryTransfer
        | Operation::Bill
        | Operation::BillFile
        | Operation::Certificates
        | Operation::NotifyPayment
        | Operation::NotifyRefund
        | Operation::NotifyTransfer => {}
    }
    let code = |code: &str, status| Behaviour::Code {
        code: code.to_owned(),
        status,
    };
    let refusal = match (on, channel) {
        (Operation::Refund, Channel::Wechat) => {
            *one(random, &[("NOT_ENOUGH", 403), ("INVALID_REQUEST", 400)])
        }
        (Operation::Refund, _) => {
            let broke = ("ACQ.SELLER_BALANCE_NOT_ENOUGH", 200);
            *one(random, &[broke, ("ACQ.TRADE_STATUS_ERROR", 200)])
        }
        (Operation::Transfer, Channel::Wechat) => {
            *one(random, &[("NOT_ENOUGH", 403), ("ACCOUNT_ERROR", 400)])
        }
        (Operation::Transfer, _) => *one(
            random,
            &[("PAYER_BALANCE_NOT_ENOUGH", 200), ("PAYEE_NOT_EXIST", 200)],
        ),
        (_, Channel::Wechat) => ("SYSTEM_ERROR", 500),
        (..) => ("ACQ.SYSTEM_ERROR", 200),
    };
    let all = [
        (Behaviour::Status(503), true),
        (Behaviour::Status(500), true),
        (Behaviour::Hang, true),
        (Behaviour::Garbage, true),
        (Behaviour::Answer, false),
        (Behaviour::Cut, false),
        (Behaviour::Unsigned, false),
        (Behaviour::WrongKey, false),
        (code(refusal.0, refusal.1), false),
    ];
    one(random, &all).clone()
}

/// What the allocator of devices does besides answering.
pub(crate) fn device(random: &mut StdRng) -> allocator::Rule {
    use allocator::Behaviour as B;
    let refuse = B::Refuse {
        reason: "OUT_OF_STOCK".to_owned(),
        message: "none is left".to_owned(),
    };
    let all = [B::Answer, B::Ignore, B::Lose, B::Duplicate(2), refuse];
    let behaviour = one(random, &all).clone();
    let delays = if behaviour == B::Answer { 1_000 } else { 0 };
    allocator::Rule::once(allocator::Operation::Allocate, behaviour).delay_ms(delays)
}
