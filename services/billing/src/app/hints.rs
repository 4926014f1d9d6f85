//! Telling the orchestrator that what a saga waits for may have come.
//!
//! A step that waits for money or for a provider answers "pending" with a long pause. Whatever learns something hints, after
//! its commit; a job carries the hints to the orchestrator. Nothing depends on them: a hint that is lost costs the pause.

use std::time::Duration;

use ids::{OrderId, PaymentId, SagaId};
use proto::saga::v1::AskAgainRequest;
use tokio::sync::mpsc;
use tonic::{Code, Request};
use uuid::Uuid;

use super::App;
use crate::store::checks::Subject;
use crate::store::waiting;

/// Hints that wait to be carried; what comes on top is dropped.
const QUEUE: usize = 8_192;
/// Longest that the orchestrator takes for one.
const CALL: Duration = Duration::from_secs(2);
/// Pauses before a hint is repeated that nobody took, as while the orchestrator restarts.
const AGAIN: [Duration; 3] = [
    Duration::from_millis(200),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// What is not as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    Order(OrderId),
    Payment(PaymentId),
    Refund(Uuid),
    Withdrawal(Uuid),
}

impl From<(Subject, Uuid)> for Changed {
    fn from((subject, id): (Subject, Uuid)) -> Self {
        match subject {
            Subject::Payment => Self::Payment(PaymentId::from_uuid(id)),
            Subject::Refund => Self::Refund(id),
            Subject::Withdrawal => Self::Withdrawal(id),
        }
    }
}

/// Where hints are left.
#[derive(Debug, Clone)]
pub(crate) struct Hints(mpsc::Sender<Changed>);

impl Hints {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Changed>) {
        let (sender, receiver) = mpsc::channel(QUEUE);
        (Self(sender), receiver)
    }

    /// Leaves a hint. To be called after the commit: a step that looks earlier finds nothing.
    pub(crate) fn leave(&self, changed: impl Into<Changed>) {
        if let Err(error) = self.0.try_send(changed.into()) {
            tracing::debug!(%error, "a hint is dropped; the step is asked later");
        }
    }
}

/// Has the steps asked at once that wait for this.
pub(crate) async fn carry(app: &App, changed: Changed) {
    match waiting::sagas(&app.steps_pool, changed).await {
        Ok(sagas) => {
            for saga in sagas {
                ask_again(app, saga).await;
            }
        }
        Err(error) => tracing::debug!(%error, ?changed, "a hint is lost; the step is asked later"),
    }
}

async fn ask_again(app: &App, saga: SagaId) {
    let mut pauses = AGAIN.into_iter();
    loop {
        let mut request = Request::new(AskAgainRequest {
            saga_id: saga.to_string(),
        });
        request.set_timeout(CALL);
        let Err(status) = app.completions.clone().ask_again(request).await else {
            return;
        };
        tracing::debug!(saga_id = %saga, error = barrier::chain(&status), "a hint was not taken");
        // Everything else is an answer, which another try does not change.
        if !matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded) {
            return;
        }
        let Some(pause) = pauses.next() else { return };
        tokio::time::sleep(pause).await;
    }
}
