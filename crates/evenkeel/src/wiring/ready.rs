//! Waits for servers that have been started a moment ago.

use std::time::{Duration, Instant};

use proto::saga::v1::ListDefinitionsRequest;
use proto::saga::v1::saga_service_client::SagaServiceClient;
use tonic::Status;

use crate::client;
use crate::exit::Failure;
use crate::identity::{Channel, Identity};

/// A server that is not ready after this time is not going to be.
const PATIENCE: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// Waits until the orchestrator answers and has an active definition.
///
/// # Errors
/// If that takes longer than 20 s.
pub(crate) async fn wait(identity: &Identity, url: &str) -> Result<(), Failure> {
    let mut sagas = SagaServiceClient::new(identity.channel(url, "saga")?);
    let begun = Instant::now();
    loop {
        let answer = has_active(&mut sagas).await;
        if matches!(answer, Ok(true)) {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(match answer {
                Ok(_) => Failure::unavailable("the orchestrator has no active definition")
                    .next("see `evenkeel saga definitions` and the log above"),
                Err(status) => client::failure(&status, url),
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn has_active(sagas: &mut SagaServiceClient<Channel>) -> Result<bool, Status> {
    let request = client::request(ListDefinitionsRequest::default(), Duration::from_secs(2));
    let page = sagas.list_definitions(request).await?.into_inner();
    Ok(page.definitions.iter().any(|definition| definition.active))
}
