//! Starting the sagas that transactions have made due.

use std::time::Duration;

use futures::future::join_all;
use ids::SagaId;
use prost_types::Any;
use proto::saga::v1::{StartSagaRequest, start_saga_request};
use tonic::{Request, Status};

use super::App;
use crate::error::Error;
use crate::store::saga_starts::{self, Due};

/// How many are taken at once.
const AT_ONCE: i64 = 20;
/// For how long they are this process's: longer than a call takes. All are called at once.
const LEASE_S: f64 = 30.0;
/// Longest that the orchestrator takes to write one down.
const CALL: Duration = Duration::from_secs(10);

/// Starts all sagas that are due. Whoever dies in between leaves them due; starting one twice is harmless, since its business
/// id stands for one saga.
pub(crate) async fn start_due(app: &App) -> Result<(), Error> {
    loop {
        let due = saga_starts::take(&app.steps_pool, AT_ONCE, LEASE_S).await?;
        if due.is_empty() {
            return Ok(());
        }
        let done = join_all(due.iter().map(|due| start_one(app, due))).await;
        done.into_iter().collect::<Result<(), Error>>()?;
    }
}

async fn start_one(app: &App, due: &Due) -> Result<(), Error> {
    match start(app, due).await {
        Ok(saga_id) => saga_starts::started(&app.steps_pool, due, saga_id).await?,
        Err(status) => {
            tracing::warn!(
                saga = due.saga,
                business_id = due.business_id,
                error = barrier::chain(&status),
                "a saga that is due cannot be started; it is tried again"
            );
            saga_starts::failed(&app.steps_pool, due, &status.to_string()).await?;
        }
    }
    Ok(())
}

async fn start(app: &App, due: &Due) -> Result<SagaId, Status> {
    let mut request = Request::new(StartSagaRequest {
        r#type: due.saga.clone(),
        business_id: due.business_id.clone(),
        input: Some(start_saga_request::Input::Message(Any {
            type_url: format!("type.googleapis.com/{}", due.input_type),
            value: due.input.clone(),
        })),
        wait: None,
    });
    request.set_timeout(CALL);
    telemetry::trace::inject(request.metadata_mut());
    let answer = app.sagas.clone().start_saga(request).await?.into_inner();
    answer
        .saga
        .unwrap_or_default()
        .saga_id
        .parse()
        .map_err(|_| Status::internal("the orchestrator answers without a saga id"))
}
