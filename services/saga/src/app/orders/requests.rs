//! How each request says it.

use proto::saga::v1 as pb;
use saga_core::Op;

use super::{OperatorRequest, Order, What, evidence, order, target};
use crate::app::Error;

impl OperatorRequest for pb::RetryNowRequest {
    const PATH: &'static str = "/evenkeel.saga.v1.OperatorService/RetryNow";
    type Response = pb::RetryNowResponse;

    fn order(&self) -> Result<Order, Error> {
        let every = self.step.is_empty();
        if every && (self.index != 0 || !self.op.is_empty()) {
            return Err(Error::invalid("step", "is missing beside index or op"));
        }
        let target = (!every)
            .then(|| target(&self.step, self.index, &self.op, Op::Action))
            .transpose()?;
        order(
            &self.saga_id,
            &self.reason,
            self.expected_version,
            What::RetryNow(target),
        )
    }

    fn response(saga: pb::Saga) -> Self::Response {
        pb::RetryNowResponse { saga: Some(saga) }
    }
}

impl OperatorRequest for pb::ResolveStepSucceededRequest {
    const PATH: &'static str = "/evenkeel.saga.v1.OperatorService/ResolveStepSucceeded";
    type Response = pb::ResolveStepSucceededResponse;

    fn order(&self) -> Result<Order, Error> {
        let what = What::ResolveSucceeded {
            target: target(&self.step, self.index, &self.op, Op::Action)?,
            reply_json: self.reply_json.clone(),
        };
        let order = order(&self.saga_id, &self.reason, self.expected_version, what)?;
        Ok(Order {
            evidence: evidence(&self.evidence)?,
            ..order
        })
    }

    fn response(saga: pb::Saga) -> Self::Response {
        pb::ResolveStepSucceededResponse { saga: Some(saga) }
    }
}

impl OperatorRequest for pb::ResolveStepFailedRequest {
    const PATH: &'static str = "/evenkeel.saga.v1.OperatorService/ResolveStepFailed";
    type Response = pb::ResolveStepFailedResponse;

    fn order(&self) -> Result<Order, Error> {
        let what = What::ResolveFailed(target(&self.step, self.index, "", Op::Action)?);
        let order = order(&self.saga_id, &self.reason, self.expected_version, what)?;
        Ok(Order {
            evidence: evidence(&self.evidence)?,
            ..order
        })
    }

    fn response(saga: pb::Saga) -> Self::Response {
        pb::ResolveStepFailedResponse { saga: Some(saga) }
    }
}

impl OperatorRequest for pb::SkipStepRequest {
    const PATH: &'static str = "/evenkeel.saga.v1.OperatorService/SkipStep";
    type Response = pb::SkipStepResponse;

    fn order(&self) -> Result<Order, Error> {
        let what = What::Skip(target(&self.step, self.index, &self.op, Op::Compensation)?);
        let order = order(&self.saga_id, &self.reason, self.expected_version, what)?;
        Ok(Order {
            evidence: evidence(&self.evidence)?,
            ..order
        })
    }

    fn response(saga: pb::Saga) -> Self::Response {
        pb::SkipStepResponse { saga: Some(saga) }
    }
}

impl OperatorRequest for pb::ResolveSagaRequest {
    const PATH: &'static str = "/evenkeel.saga.v1.OperatorService/ResolveSaga";
    type Response = pb::ResolveSagaResponse;

    fn order(&self) -> Result<Order, Error> {
        let order = order(&self.saga_id, &self.reason, self.expected_version, What::Resolve)?;
        Ok(Order {
            evidence: evidence(&self.evidence)?,
            ..order
        })
    }

    fn response(saga: pb::Saga) -> Self::Response {
        pb::ResolveSagaResponse { saga: Some(saga) }
    }
}

impl OperatorRequest for pb::CompensateSagaRequest {
    const PATH: &'static str = "/evenkeel.saga.v1.OperatorService/CompensateSaga";
    type Response = pb::CompensateSagaResponse;

    fn order(&self) -> Result<Order, Error> {
        order(
            &self.saga_id,
            &self.reason,
            self.expected_version,
            What::Compensate,
        )
    }

    fn response(saga: pb::Saga) -> Self::Response {
        pb::CompensateSagaResponse { saga: Some(saga) }
    }
}

impl OperatorRequest for pb::PauseSagaRequest {
    const PATH: &'static str = "/evenkeel.saga.v1.OperatorService/PauseSaga";
    type Response = pb::PauseSagaResponse;

    fn order(&self) -> Result<Order, Error> {
        order(&self.saga_id, &self.reason, self.expected_version, What::Pause)
    }

    fn response(saga: pb::Saga) -> Self::Response {
        pb::PauseSagaResponse { saga: Some(saga) }
    }
}

impl OperatorRequest for pb::ResumeSagaRequest {
    const PATH: &'static str = "/evenkeel.saga.v1.OperatorService/ResumeSaga";
    type Response = pb::ResumeSagaResponse;

    fn order(&self) -> Result<Order, Error> {
        order(&self.saga_id, &self.reason, self.expected_version, What::Resume)
    }

    fn response(saga: pb::Saga) -> Self::Response {
        pb::ResumeSagaResponse { saga: Some(saga) }
    }
}

impl OperatorRequest for pb::ReleaseSagaRequest {
    const PATH: &'static str = "/evenkeel.saga.v1.OperatorService/ReleaseSaga";
    type Response = pb::ReleaseSagaResponse;

    fn order(&self) -> Result<Order, Error> {
        order(&self.saga_id, &self.reason, self.expected_version, What::Release)
    }

    fn response(saga: pb::Saga) -> Self::Response {
        pb::ReleaseSagaResponse { saga: Some(saga) }
    }
}

impl OperatorRequest for pb::AcknowledgeAttentionRequest {
    const PATH: &'static str = "/evenkeel.saga.v1.OperatorService/AcknowledgeAttention";
    type Response = pb::AcknowledgeAttentionResponse;

    fn order(&self) -> Result<Order, Error> {
        order(
            &self.saga_id,
            &self.reason,
            self.expected_version,
            What::Acknowledge,
        )
    }

    fn response(saga: pb::Saga) -> Self::Response {
        pb::AcknowledgeAttentionResponse { saga: Some(saga) }
    }
}
