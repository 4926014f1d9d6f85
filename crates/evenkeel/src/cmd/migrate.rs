//! `evenkeel migrate`.

use crate::exit::{Code, Failure};
use crate::output;
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
}

/// Runs `evenkeel migrate`.
pub(crate) async fn run(args: Args) -> Result<Code, Failure> {
    let names = if args.services.is_empty() {
        Name::ALL.to_vec()
    } else {
        args.services
    };
    database::migrate(&args.database_url, &names).await?;
    for name in names {
        let (schema, migrator) = database::migrator(name);
        output::emit(&format!(
            "{schema}: {} migrations applied\n",
            migrator.iter().count()
        ))?;
    }
    Ok(Code::Ok)
}
