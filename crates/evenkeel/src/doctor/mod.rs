//! Checks on a running system: each says whether it is well, what it saw, and what to do if it is not.

mod database;
mod drift;
mod report;
mod sealed;
mod services;

pub(crate) use report::Report;

use kms::Kms;

use crate::identity::Identity;
use crate::wiring::settings::Name;

/// What to look at.
#[derive(Debug)]
pub(crate) struct Facts {
    /// As whom services are asked.
    pub(crate) identity: Identity,
    /// Database of the services.
    pub(crate) database_url: String,
    /// Connections that all services with all their replicas may open.
    pub(crate) connections: u32,
    /// Where the services are.
    pub(crate) services: Vec<(Name, String)>,
    /// URL of the gateway.
    pub(crate) gateway: String,
    /// The keys under which fields are sealed; why there are none, if so.
    pub(crate) kms: Result<Kms, String>,
}

/// Examines everything. What cannot be examined is a finding, not an error.
pub(crate) async fn examine(facts: &Facts) -> Report {
    let mut report = Report::default();
    database::examine(facts, &mut report).await;
    services::examine(facts, &mut report).await;
    report
}

/// Evaluates the product's promise alone: what ends every test that injects faults.
pub(crate) async fn drift(database_url: &str) -> Report {
    let mut report = Report::default();
    drift::examine(database_url, &mut report).await;
    report
}
