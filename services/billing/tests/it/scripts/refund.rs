//! PAYMENT_REFUND.

use proto::billing::v1 as pb;

use crate::fake_sagas::Running;

/// Runs the saga to its end.
pub(crate) async fn run(saga: &Running, input: pb::PaymentRefundInput) {
    let _ = (saga, input);
}
