//! Making the definition known to the test's own orchestrator.

use proto::saga::v1::saga_service_client::SagaServiceClient;
use proto::saga::v1::{ActivateDefinitionRequest, RegisterDefinitionRequest};
use saga_definition::{Definition, MAX_VERSION};
use token::Channel;

use crate::exit::{Code, Failure};

/// Registers the definition and makes it startable.
///
/// # Errors
/// The orchestrator does not take it.
pub(super) async fn register(channel: Channel, definition: &Definition, source: &str) -> Result<(), Failure> {
    let mut client = SagaServiceClient::new(channel);
    let refused = |status: tonic::Status| {
        Failure::new(
            Code::Failed,
            format!("the definition is not taken: {}", status.message()),
        )
    };
    let request = |source: String| RegisterDefinitionRequest {
        source,
        source_name: definition.name().to_owned(),
        check_only: false,
    };
    let mut version = definition.version();
    let mut registered = client.register_definition(request(source.to_owned())).await;
    if registered
        .as_ref()
        .is_err_and(|status| status.code() == tonic::Code::AlreadyExists)
    {
        // This binary ships another text of this version; here it is the text of the file that counts.
        version = MAX_VERSION;
        registered = client
            .register_definition(request(with_version(source, version)))
            .await;
    }
    let problems = registered.map_err(refused)?.into_inner().problems;
    if let Some(problem) = problems.first() {
        return Err(Failure::new(
            Code::Failed,
            format!("the definition is not taken: {}", problem.message),
        ));
    }
    let request = ActivateDefinitionRequest {
        name: definition.name().to_owned(),
        version,
        deactivate: false,
    };
    client.activate_definition(request).await.map_err(refused)?;
    Ok(())
}

fn with_version(source: &str, version: u32) -> String {
    let lines = source.lines().map(|line| {
        if line.starts_with("version:") {
            format!("version: {version}\n")
        } else {
            format!("{line}\n")
        }
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_replaced_at_the_top_only() {
        let source = "saga: A\nversion: 3 # old\nsteps:\n  - with: { version: 3 }\n";
        assert_eq!(
            with_version(source, 9),
            "saga: A\nversion: 9\nsteps:\n  - with: { version: 3 }\n"
        );
    }
}
