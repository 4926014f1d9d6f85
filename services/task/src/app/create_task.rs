//! CreateTask: starts the saga TASK_RUN and waits, bounded, for the task to exist.
//!
//! No row is written here, and no connection is held while waiting. The task's id follows from user and request id, so
//! that a retry finds the same saga, and so the same task or the same refusal.

use std::time::Duration;

use ids::{TaskId, UserId};
use prost::Message;
use prost_types::{Any, Struct};
use proto::saga::v1::{
    OperationState, Saga, SagaPhase, StartSagaRequest, StartSagaResponse, WaitUntil, start_saga_request,
    wait_until,
};
use proto::task::v1::TaskRunInput;
use rpc::error::{Reason, info};
use rpc::repeat::until_answered;
use tonic::Status;
use uuid::Uuid;

use super::{App, Error, on_behalf_of};
use crate::json;
use crate::store::tasks::{self, Task};

/// Name of the saga.
const SAGA: &str = "TASK_RUN";
/// Step that makes the task exist.
const CREATE_STEP: &str = "CREATE_TASK";
const INPUT_TYPE_URL: &str = "type.googleapis.com/evenkeel.task.v1.TaskRunInput";
/// Domain of the quota service, whose refusals pass through.
const QUOTA_DOMAIN: &str = "quota.evenkeel";

/// Largest input, in bytes of its protobuf encoding.
const MAX_INPUT_BYTES: usize = 64 * 1024;
/// Longest request id, in characters.
const MAX_REQUEST_ID_CHARS: usize = 128;
/// What the call may take beyond the wait itself.
const CALL_SLACK: Duration = Duration::from_secs(5);

/// Namespace of task ids, which are made of `<user id>/<request id>`. Never changes.
const TASK_NAMESPACE: Uuid = Uuid::from_u128(0x7b1d_5c0e_91f4_4a6f_9a35_2e60_c8d7_41b3);

/// A valid wish for a task.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    user_id: UserId,
    request_id: String,
    feature_id: String,
    input: Struct,
    amount: i64,
    deadline: Duration,
}

impl Wish {
    /// Checks a wish.
    pub(crate) fn parse(
        app: &App,
        user_id: UserId,
        feature_id: String,
        input: Option<Struct>,
        request_id: String,
    ) -> Result<Self, Error> {
        let feature = app
            .config
            .features
            .get(&feature_id)
            .ok_or_else(|| Error::NoFeature(feature_id.chars().take(64).collect()))?;
        let request_id = request_id_or_new(request_id)?;
        let input = input.unwrap_or_default();
        let found = input.encoded_len();
        if found > MAX_INPUT_BYTES {
            return Err(Error::TooLarge {
                field: "input_data",
                found,
                limit: MAX_INPUT_BYTES,
            });
        }
        json::from_struct(&input).map_err(|unfit| Error::Argument {
            field: "input_data",
            problem: unfit.to_string(),
        })?;
        Ok(Self {
            user_id,
            request_id,
            feature_id,
            input,
            amount: feature.amount,
            deadline: feature.deadline,
        })
    }

    fn task_id(&self) -> TaskId {
        TaskId::derived(TASK_NAMESPACE, &format!("{}/{}", self.user_id, self.request_id))
    }

    /// Tells whether a task is the one that is wished for. Compared as Structs: jsonb writes numbers its own way.
    fn is(&self, task: &Task) -> bool {
        task.feature_id == self.feature_id && json::to_struct(&task.input_data) == canonical(&self.input)
    }

    fn saga_input(&self, task_id: TaskId) -> TaskRunInput {
        TaskRunInput {
            task_id: task_id.to_string(),
            user_id: self.user_id.to_string(),
            feature_id: self.feature_id.clone(),
            input_data: Some(self.input.clone()),
            amount: self.amount,
            deadline: prost_types::Duration::try_from(self.deadline).ok(),
        }
    }
}

/// Brings a Struct into the form in which it comes back from the table.
fn canonical(input: &Struct) -> Struct {
    json::from_struct(input).map_or_else(|_| input.clone(), |value| json::to_struct(&value))
}

fn request_id_or_new(request_id: String) -> Result<String, Error> {
    if request_id.is_empty() {
        return Ok(Uuid::now_v7().simple().to_string());
    }
    if request_id.chars().count() > MAX_REQUEST_ID_CHARS || request_id.chars().any(char::is_control) {
        return Err(Error::Argument {
            field: "request_id",
            problem: format!("must be at most {MAX_REQUEST_ID_CHARS} printable characters"),
        });
    }
    Ok(request_id)
}

/// Creates a task, or finds the one created before under the same request id.
pub(crate) async fn create_task(app: &App, wish: &Wish) -> Result<Task, Error> {
    let task_id = wish.task_id();
    if let Some(task) = tasks::find(&app.pool, task_id).await? {
        return if wish.is(&task) {
            Ok(task)
        } else {
            Err(Error::Mismatch(wish.request_id.clone()))
        };
    }
    let started = start(app, wish, task_id).await?;
    let saga = started.saga.unwrap_or_default();
    if is_created(&saga)
        && let Some(task) = tasks::find(&app.pool, task_id).await?
    {
        return Ok(task);
    }
    Err(no_task(wish, &saga))
}

/// Starts the saga, or finds it. An orchestrator that ends or dies meanwhile is no reason to fail: its sagas go on elsewhere, and the
/// same start finds this one there.
async fn start(app: &App, wish: &Wish, task_id: TaskId) -> Result<StartSagaResponse, Error> {
    let input = wish.saga_input(task_id).encode_to_vec();
    let call = |left: Duration| {
        let request = StartSagaRequest {
            r#type: SAGA.to_owned(),
            business_id: task_id.to_string(),
            input: Some(start_saga_request::Input::Message(Any {
                type_url: INPUT_TYPE_URL.to_owned(),
                value: input.clone(),
            })),
            wait: Some(WaitUntil {
                until: Some(wait_until::Until::Step(CREATE_STEP.to_owned())),
                timeout: prost_types::Duration::try_from(left).ok(),
            }),
        };
        let request = on_behalf_of(wish.user_id, request, left + CALL_SLACK);
        let mut sagas = app.sagas.clone();
        async move { Ok(sagas.start_saga(request).await?.into_inner()) }
    };
    let reached = |answer: &StartSagaResponse| answer.waited_for_reached;
    let answer = until_answered(app.config.create_wait, call, reached).await;
    answer.map_err(|status| not_started(wish, status))
}

fn not_started(wish: &Wish, status: Status) -> Error {
    let reason = info(&status).map(|info| info.reason).unwrap_or_default();
    if reason == Reason::SagaInputMismatch.name() {
        return Error::Mismatch(wish.request_id.clone());
    }
    if reason == Reason::Overloaded.name() {
        return Error::Overloaded;
    }
    Error::Unreachable {
        request_id: wish.request_id.clone(),
        source: status,
    }
}

/// Tells whether the saga's CREATE_TASK has succeeded. What came of the task later does not matter here.
fn is_created(saga: &Saga) -> bool {
    saga.steps
        .iter()
        .filter(|step| step.name == CREATE_STEP)
        .filter_map(|step| step.action.as_ref())
        .any(|action| action.state() == OperationState::Succeeded)
}

/// Says why there is no task: a refusal of quota as it is, anything else as "not created", or "not yet".
fn no_task(wish: &Wish, saga: &Saga) -> Error {
    match saga.phase() {
        SagaPhase::Unspecified | SagaPhase::Running | SagaPhase::Completed => Error::NotYet {
            request_id: wish.request_id.clone(),
        },
        SagaPhase::Compensating | SagaPhase::Compensated | SagaPhase::Resolved => {
            let error = saga.error.clone().unwrap_or_default();
            let known = Reason::ALL
                .into_iter()
                .find(|reason| reason.name() == error.reason);
            match known {
                Some(reason) if error.domain == QUOTA_DOMAIN => Error::Refused {
                    reason,
                    domain: error.domain,
                    message: error.message,
                },
                Some(Reason::TaskMismatch) if error.domain == crate::DOMAIN => {
                    Error::Mismatch(wish.request_id.clone())
                }
                Some(_) | None => Error::NotCreated {
                    cause: if error.reason.is_empty() {
                        saga.reason().as_str_name().to_owned()
                    } else {
                        error.reason
                    },
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_id_is_bounded_and_printable() {
        assert!(request_id_or_new("x".repeat(128)).is_ok());
        assert!(request_id_or_new("订单-1".to_owned()).is_ok());
        for wrong in ["x".repeat(129), "a\nb".to_owned(), "\0".to_owned()] {
            assert!(request_id_or_new(wrong).is_err());
        }
    }

    #[test]
    fn an_empty_request_id_is_replaced_by_a_new_one() {
        let new = || request_id_or_new(String::new()).unwrap();
        assert_ne!(new(), new());
        assert!(!new().is_empty());
    }
}
