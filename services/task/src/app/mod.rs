//! The operations of the service, one file each.

pub(crate) mod cancel_task;
pub(crate) mod complete_task;
pub(crate) mod create_task;
pub(crate) mod create_task_record;
mod error;
pub(crate) mod finish_failed_task;
pub(crate) mod get_task;
pub(crate) mod list_notifications;
pub(crate) mod list_tasks;
pub(crate) mod mark_notifications_read;
pub(crate) mod mark_task_failing;
pub(crate) mod notify;
pub(crate) mod page_token;
pub(crate) mod run_pipeline;
pub(crate) mod stop_pipeline;

use std::sync::Arc;

use process::PoolGauge;
use proto::saga::v1::saga_service_client::SagaServiceClient;
use rpc::step::ACTOR_HEADER;
use token::Channel;
use tokio::sync::Notify;
use tonic::Request;
use tonic::metadata::MetadataValue;

pub(crate) use self::error::Error;
use crate::config::Config;
use crate::feed::Feeds;

/// Handles that the operations need. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// Pool of the public service.
    pub(crate) pool: PoolGauge,
    /// Pool of the steps and the worker.
    pub(crate) steps_pool: PoolGauge,
    pub(crate) sagas: SagaServiceClient<Channel>,
    pub(crate) config: Arc<Config>,
    /// Tells the worker of this process that a run is due.
    pub(crate) due: Arc<Notify>,
    pub(crate) feeds: Feeds,
}

/// Makes a call to the orchestrator on behalf of a user. The orchestrator writes down `task/user_…`.
pub(crate) fn on_behalf_of<T>(user_id: ids::UserId, message: T, timeout: std::time::Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(timeout);
    telemetry::trace::inject(request.metadata_mut());
    if let Ok(actor) = MetadataValue::try_from(user_id.to_string()) {
        request.metadata_mut().insert(ACTOR_HEADER, actor);
    }
    request
}
