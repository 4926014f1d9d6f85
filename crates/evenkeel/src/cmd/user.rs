//! `evenkeel user`: what only who owns the database may do to accounts.

use clap::Subcommand;
use ids::UserId;
use process::{PoolConfig, pool};
use serde_json::json;

use crate::client;
use crate::exit::{Code, Failure};
use crate::output::{self, Format};
use crate::wiring::settings::DEV_DATABASE_URL;

/// Makes the first administrator, who makes the others over the API.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  evenkeel user make-admin user_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes a user an administrator, in the database; the user is one after the next refresh or login
    #[command(after_help = "Example:
  evenkeel user make-admin user_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b")]
    MakeAdmin {
        /// Id of the user
        user: UserId,
        /// Database of the auth service
        #[arg(
            long,
            env = "DATABASE_URL",
            hide_env_values = true,
            value_name = "URL",
            default_value = DEV_DATABASE_URL
        )]
        database_url: String,
        /// How to print
        #[arg(short, long, value_enum, default_value_t = Format::Table)]
        output: Format,
    },
}

/// Runs `evenkeel user`.
pub(crate) async fn run(args: Args) -> Result<Code, Failure> {
    let Verb::MakeAdmin {
        user,
        database_url,
        output,
    } = args.verb;
    let failed = |error: &dyn std::error::Error| {
        Failure::unavailable("the accounts cannot be reached")
            .because(error)
            .next("set DATABASE_URL (or --database-url) to the services' database and start it")
    };
    let config = PoolConfig {
        url: database_url,
        min: 0,
        max: 1,
        ..PoolConfig::default()
    };
    let pool = pool::connect("cli", auth::SCHEMA, &config)
        .await
        .map_err(|error| failed(&error))?;
    let made = auth::bootstrap_admin(&pool, user, &client::actor()).await;
    pool.close().await;
    if !made.map_err(|error| failed(&error))? {
        return Err(Failure::new(
            Code::Failed,
            format!("USER_NOT_FOUND: there is no user {user}"),
        ));
    }
    let value = json!({ "userId": user.to_string(), "role": "ADMIN" });
    output::emit(&match output {
        Format::Table => format!("{user} is an administrator from the next refresh or login on\n"),
        Format::Json => format!("{value:#}\n"),
        Format::Jsonl => format!("{value}\n"),
    })?;
    Ok(Code::Ok)
}
