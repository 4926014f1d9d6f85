//! `evenkeel migrate`.

use serde_json::json;

use crate::exit::{Code, Failure};
use crate::output::{self, Format};
use crate::wiring::database;
use crate::wiring::settings::Name;

/// Creates the schemas of services and brings them up to date; safe to run at any time, from several places at once
///
/// Migrations only go forward (docs/adr/0002). Needs the right to create schemas; services themselves do not.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  DATABASE_URL=postgres://admin@db/evenkeel evenkeel migrate
  evenkeel migrate quota task --database-url postgres://admin@db/evenkeel")]
pub(crate) struct Args {
    /// Services to migrate; all if none is named
    #[arg(value_enum, value_name = "SERVICE")]
    services: Vec<Name>,
    /// Database to migrate
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    database_url: String,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Runs `evenkeel migrate`.
pub(crate) async fn run(args: Args) -> Result<Code, Failure> {
    let names = if args.services.is_empty() {
        Name::ALL.to_vec()
    } else {
        args.services
    };
    database::migrate(&args.database_url, &names).await?;
    let mut schemas = Vec::new();
    let all = [database::EVENTS, database::STORE]
        .into_iter()
        .chain(names.into_iter().filter_map(database::migrator));
    for (schema, migrator) in all {
        let migrations = migrator.iter().count();
        let value = json!({ "schema": schema, "migrations": migrations });
        match args.output {
            Format::Table => output::emit(&format!("{schema}: {migrations} migrations applied\n"))?,
            Format::Json => schemas.push(value),
            Format::Jsonl => output::emit(&format!("{value}\n"))?,
        }
    }
    if args.output == Format::Json {
        output::emit(&format!("{:#}\n", json!({ "schemas": schemas })))?;
    }
    Ok(Code::Ok)
}
