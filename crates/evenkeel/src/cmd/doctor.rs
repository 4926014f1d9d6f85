//! `evenkeel doctor`.

use std::path::PathBuf;

use crate::doctor::{self, Facts, Report};
use crate::exit::{Code, Failure};
use crate::identity::Identity;
use crate::output::{self, Format};
use crate::wiring::sealing;
use crate::wiring::settings::{self, DEV_DATABASE_URL, Name};

/// Says what is wrong, if anything, and what to do about it; exits with 1 if something is
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel doctor
  evenkeel doctor --database-url postgres://evenkeel@db/evenkeel --config evenkeel.toml --replicas 3
  evenkeel doctor --drift                       after an incident: nothing was lost, nothing doubled
  evenkeel doctor -o json | jq '.checks[] | select(.state != \"ok\")'")]
pub(crate) struct Args {
    /// Database of the services
    #[arg(
        long,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = DEV_DATABASE_URL
    )]
    database_url: String,
    /// Settings as the servers have them, for the size of their pools
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Replicas of each service, for the sum of their connections
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "N")]
    replicas: u32,
    /// URL of the saga service
    #[arg(
        long,
        env = "EVENKEEL_SAGA_URL",
        default_value = "http://127.0.0.1:7101",
        value_name = "URL"
    )]
    saga: String,
    /// URL of the quota service
    #[arg(
        long,
        env = "EVENKEEL_QUOTA_URL",
        default_value = "http://127.0.0.1:7102",
        value_name = "URL"
    )]
    quota: String,
    /// URL of the task service
    #[arg(
        long,
        env = "EVENKEEL_TASK_URL",
        default_value = "http://127.0.0.1:7103",
        value_name = "URL"
    )]
    task: String,
    /// URL of the auth service
    #[arg(
        long,
        env = "EVENKEEL_AUTH_URL",
        default_value = "http://127.0.0.1:7104",
        value_name = "URL"
    )]
    auth: String,
    /// URL of the billing service
    #[arg(
        long,
        env = "EVENKEEL_BILLING_URL",
        default_value = "http://127.0.0.1:7105",
        value_name = "URL"
    )]
    billing: String,
    /// URL of the gateway
    #[arg(
        long,
        env = "EVENKEEL_GATEWAY_URL",
        default_value = "http://127.0.0.1:7180",
        value_name = "URL"
    )]
    gateway: String,
    /// Evaluates the product's promise only: money, quota and what was granted add up, in the database alone
    #[arg(long)]
    drift: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Runs `evenkeel doctor`.
pub(crate) async fn run(args: Args, identity: Identity, keys: Option<PathBuf>) -> Result<Code, Failure> {
    let report = if args.drift {
        doctor::drift(&args.database_url).await
    } else {
        everything(&args, identity, keys).await?
    };
    output::emit(&match args.output {
        Format::Table => report.table(output::colour()),
        Format::Json => format!("{:#}\n", report.json()),
        Format::Jsonl => report.json_lines(),
    })?;
    Ok(if report.is_well() { Code::Ok } else { Code::Failed })
}

async fn everything(args: &Args, identity: Identity, keys: Option<PathBuf>) -> Result<Report, Failure> {
    let mut settings = settings::load(args.config.as_deref())?;
    if let Some(keys) = keys {
        settings.identity.keys = keys;
    }
    if args.config.is_none() && args.database_url == DEV_DATABASE_URL {
        settings.share_one_process();
    }
    let facts = Facts {
        identity,
        database_url: args.database_url.clone(),
        connections: settings.connections().saturating_mul(args.replicas),
        services: vec![
            (Name::Saga, args.saga.clone()),
            (Name::Quota, args.quota.clone()),
            (Name::Task, args.task.clone()),
            (Name::Auth, args.auth.clone()),
            (Name::Billing, args.billing.clone()),
        ],
        gateway: args.gateway.clone(),
        kms: sealing::open(&settings).map_err(|failure| first_line(&failure)),
    };
    Ok(doctor::examine(&facts).await)
}

/// What went wrong, without what to do about it.
fn first_line(failure: &Failure) -> String {
    let text = failure.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}
