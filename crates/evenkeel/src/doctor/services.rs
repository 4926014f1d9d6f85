//! Checks on the services: answering, ready, and with something to run.

use std::time::Duration;

use proto::saga::v1::saga_service_client::SagaServiceClient;
use proto::saga::v1::{Definition, ListDefinitionsRequest};
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::{Facts, Report};
use crate::client;
use crate::identity::Channel;
use crate::wiring::services::SHIPPED;
use crate::wiring::settings::Name;

/// A service that does not answer within this time counts as absent.
const PATIENCE: Duration = Duration::from_secs(3);

/// Examines every service.
pub(super) async fn examine(facts: &Facts, report: &mut Report) {
    for (name, url) in &facts.services {
        let check = format!("service {}", name.text());
        let channel = match facts.identity.channel(url, name.text()) {
            Ok(channel) => channel,
            Err(failure) => {
                report.wrong(check, failure.to_string(), "give its URL as http://host:port");
                continue;
            }
        };
        let answering = health(channel.clone(), &check, url, report).await;
        if answering && *name == Name::Saga {
            definitions(channel, report).await;
        }
    }
    gateway(&facts.gateway, report).await;
}

/// Asks the gateway for a route of the auth service that needs no token, so that what is behind it is seen as well.
async fn gateway(url: &str, report: &mut Report) {
    let check = format!("service {}", Name::Gateway.text());
    let asked = reqwest::Client::builder().timeout(PATIENCE).build();
    let asked = match asked {
        Ok(client) => client.get(format!("{url}/.well-known/jwks.json")).send().await,
        Err(error) => Err(error),
    };
    match asked {
        Ok(answer) if answer.status().is_success() => report.ok(check, format!("ready at {url}")),
        Ok(answer) => report.wrong(
            check,
            format!("answers {} at {url}", answer.status()),
            "see its log: it may not reach the auth service",
        ),
        Err(_) => report.wrong(
            check,
            format!("no answer from {url}"),
            "start it, or give its URL with --gateway or EVENKEEL_GATEWAY_URL",
        ),
    }
}

async fn health(channel: Channel, check: &str, url: &str, report: &mut Report) -> bool {
    let request = client::request(
        HealthCheckRequest {
            service: String::new(),
        },
        PATIENCE,
    );
    match HealthClient::new(channel).check(request).await {
        Ok(answer) if answer.get_ref().status == ServingStatus::Serving as i32 => {
            report.ok(check, format!("ready at {url}"));
            true
        }
        Ok(_) => {
            report.wrong(
                check,
                format!("not ready at {url}"),
                "it lives but cannot reach its database; see its log",
            );
            true
        }
        Err(status) => {
            let found = format!("no answer from {url} ({})", rpc::error::code_name(status.code()));
            report.wrong(
                check,
                found,
                "start it, or give its URL with an option or variable (evenkeel doctor --help)",
            );
            false
        }
    }
}

async fn definitions(channel: Channel, report: &mut Report) {
    let request = client::request(
        ListDefinitionsRequest {
            page_size: 500,
            ..Default::default()
        },
        PATIENCE,
    );
    let definitions = match SagaServiceClient::new(channel).list_definitions(request).await {
        Ok(answer) => answer.into_inner().definitions,
        Err(status) => {
            report.wrong("definitions", status.message(), "see the orchestrator's log");
            return;
        }
    };
    let active = |name: &str| {
        definitions
            .iter()
            .any(|d: &Definition| d.name == name && d.active)
    };
    let missing: Vec<&str> = SHIPPED
        .into_iter()
        .flatten()
        .map(|(file, _)| file.trim_end_matches(".yaml"))
        .filter(|name| !active(name))
        .collect();
    if missing.is_empty() {
        let count = definitions.iter().filter(|definition| definition.active).count();
        report.ok("definitions", format!("{count} active"));
    } else {
        let next = "register and activate them: evenkeel saga register FILE --activate";
        report.wrong("definitions", format!("not active: {}", missing.join(", ")), next);
    }
}
