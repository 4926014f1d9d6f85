//! `evenkeel quota`: small conveniences around the quota service.

use clap::Subcommand;
use ids::UserId;
use proto::quota::v1::quota_service_client::QuotaServiceClient;
use proto::quota::v1::{CreateGrantRequest, GetBalanceRequest, ListLedgerEntriesRequest};
use uuid::Uuid;

use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::identity::Identity;
use crate::output::{self, Format};
use crate::render;

/// Grants quota and shows balances.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel quota grant new 100
  evenkeel quota balance user_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b")]
pub(crate) struct Args {
    /// URL of the quota service
    #[arg(
        long = "server",
        global = true,
        env = "EVENKEEL_QUOTA_URL",
        default_value = "http://127.0.0.1:7102",
        value_name = "URL"
    )]
    url: String,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Adds quota to a user; the first grant opens the account
    #[command(after_help = "Examples:
  evenkeel quota grant new 100                  a new user, with 100
  evenkeel quota grant user_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b 50 --grant-id order-17   once, however often it runs")]
    Grant {
        /// Id of the user, or `new` for a new one
        user: String,
        /// How much
        #[arg(value_parser = clap::value_parser!(i64).range(1..=1_000_000_000_000))]
        amount: i64,
        /// The same id grants once; a random one if absent
        #[arg(long, value_name = "ID")]
        grant_id: Option<String>,
        /// Why
        #[arg(long, default_value = "granted by hand", value_name = "TEXT")]
        source: String,
    },
    /// Shows a user's balance: granted = available + reserved + consumed
    #[command(
        after_help = "Example:\n  evenkeel quota balance user_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b -o json"
    )]
    Balance {
        /// Id of the user
        user: String,
    },
    /// Lists the movements of a user's account, newest first
    #[command(
        after_help = "Example:\n  evenkeel quota ledger user_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b --limit 10"
    )]
    Ledger {
        /// Id of the user
        user: String,
        /// Movements a page, 1 to 500
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=500), value_name = "N")]
        limit: u32,
        /// Goes on where the page before ended
        #[arg(long, default_value = "", hide_default_value = true, value_name = "TOKEN")]
        page_token: String,
    },
}

/// Runs one `evenkeel quota` command.
pub(crate) async fn run(args: Args, identity: &Identity) -> Result<Code, Failure> {
    let mut quota = QuotaServiceClient::new(identity.channel(&args.url, "quota")?);
    let failed = |status: tonic::Status| client::failure(&status, &args.url);
    let (format, colour) = (args.output, output::colour());
    match args.verb {
        Verb::Grant {
            user,
            amount,
            grant_id,
            source,
        } => {
            let user_id = if user == "new" {
                UserId::new().to_string()
            } else {
                user
            };
            let grant_id = grant_id.unwrap_or_else(|| format!("cli-{}", Uuid::now_v7().simple()));
            let request = CreateGrantRequest {
                grant_id,
                user_id,
                amount,
                note: source,
                ..CreateGrantRequest::default()
            };
            let answer = quota
                .create_grant(client::request(request, CALL_TIMEOUT))
                .await
                .map_err(failed)?
                .into_inner();
            output::print(
                format,
                colour,
                "evenkeel.quota.v1.CreateGrantResponse",
                &answer,
                |colour| {
                    answer
                        .balance
                        .as_ref()
                        .map_or_else(String::new, |b| render::balance::table(b).render(colour))
                },
            )?;
            if format == Format::Table && !answer.created {
                output::remark("this grant id had been granted before; nothing changed");
            }
        }
        Verb::Balance { user } => {
            let request = GetBalanceRequest { user_id: user };
            let answer = quota
                .get_balance(client::request(request, CALL_TIMEOUT))
                .await
                .map_err(failed)?
                .into_inner();
            output::print(
                format,
                colour,
                "evenkeel.quota.v1.GetBalanceResponse",
                &answer,
                |colour| {
                    answer
                        .balance
                        .as_ref()
                        .map_or_else(String::new, |b| render::balance::table(b).render(colour))
                },
            )?;
        }
        Verb::Ledger {
            user,
            limit,
            page_token,
        } => {
            let request = ListLedgerEntriesRequest {
                user_id: user,
                page_size: limit,
                page_token,
            };
            let call = client::request(request, CALL_TIMEOUT);
            let answer = quota
                .list_ledger_entries(call)
                .await
                .map_err(failed)?
                .into_inner();
            output::print(
                format,
                colour,
                "evenkeel.quota.v1.ListLedgerEntriesResponse",
                &answer,
                |colour| render::balance::ledger(&answer.entries).render(colour),
            )?;
            if format == Format::Table && !answer.next_page_token.is_empty() {
                output::remark(&format!(
                    "there are more: --page-token {}",
                    answer.next_page_token
                ));
            }
        }
    }
    Ok(Code::Ok)
}
