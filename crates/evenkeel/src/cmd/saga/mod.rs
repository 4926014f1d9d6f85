//! `evenkeel saga`: everything a person does with sagas.

use std::path::Path;

use clap::Subcommand;
use proto::saga::v1::operator_service_client::OperatorServiceClient;
use proto::saga::v1::saga_service_client::SagaServiceClient;

use crate::client;
use crate::exit::{Code, Failure};
use crate::identity::{Channel, Identity};
use crate::output::{self, Format};

mod activate;
mod audit;
mod cancel;
mod check;
mod decision;
mod definitions;
mod list;
mod paused;
mod register;
mod resolve_step;
mod retry;
mod show;
mod skip;
mod start;
mod status;
mod test;
mod watch;
mod whole;
mod why;

/// Lists, shows, starts and stops sagas, mends what does not end by itself, and manages definitions.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel saga list --retrying
  evenkeel saga why saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b
  evenkeel saga retry saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b --reason 'the provider is back'
  evenkeel saga start TASK_RUN --business-id order-17 --input @input.json --wait end
  evenkeel saga check services/task/sagas/TASK_RUN.yaml")]
pub(crate) struct Args {
    #[command(flatten)]
    server: Server,
    #[command(subcommand)]
    verb: Verb,
}

/// Where the saga service is, and how to print.
#[derive(Debug, clap::Args)]
pub(crate) struct Server {
    /// URL of the saga service
    #[arg(
        long = "server",
        global = true,
        env = "EVENKEEL_SAGA_URL",
        default_value = "http://127.0.0.1:7101",
        value_name = "URL"
    )]
    url: String,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum Verb {
    List(list::Args),
    Show(show::Args),
    Watch(watch::Args),
    Start(start::Args),
    Cancel(cancel::Args),
    Why(why::Args),
    Retry(retry::Args),
    ResolveStep(resolve_step::Args),
    Skip(skip::Args),
    Compensate(whole::Compensate),
    Resolve(whole::Resolve),
    Pause(whole::Pause),
    Resume(whole::Resume),
    Release(whole::Release),
    Acknowledge(whole::Acknowledge),
    PauseType(paused::Pause),
    ResumeType(paused::Resume),
    Paused(paused::List),
    Audit(audit::Args),
    Status(status::Args),
    Check(check::Args),
    Test(Box<test::Args>),
    Definitions(definitions::Args),
    Register(register::Args),
    Activate(activate::Args),
}

/// Runs one `evenkeel saga` command. `keys` is the directory of keys that was named, if one was.
pub(crate) async fn run(args: Args, identity: &Identity, keys: Option<&Path>) -> Result<Code, Failure> {
    let session = Session::open(args.server, identity)?;
    match args.verb {
        Verb::List(args) => list::run(session, args).await,
        Verb::Show(args) => show::run(session, args).await,
        Verb::Watch(args) => watch::run(session, args).await,
        Verb::Start(args) => start::run(session, args).await,
        Verb::Cancel(args) => cancel::run(session, args).await,
        Verb::Why(args) => why::run(session, args).await,
        Verb::Retry(args) => retry::run(session, args).await,
        Verb::ResolveStep(args) => resolve_step::run(session, args).await,
        Verb::Skip(args) => skip::run(session, args).await,
        Verb::Compensate(args) => whole::compensate(session, args).await,
        Verb::Resolve(args) => whole::resolve(session, args).await,
        Verb::Pause(args) => whole::pause(session, args).await,
        Verb::Resume(args) => whole::resume(session, args).await,
        Verb::Release(args) => whole::release(session, args).await,
        Verb::Acknowledge(args) => whole::acknowledge(session, args).await,
        Verb::PauseType(args) => paused::pause(session, args).await,
        Verb::ResumeType(args) => paused::resume(session, args).await,
        Verb::Paused(_) => paused::list(session).await,
        Verb::Audit(args) => audit::run(session, args).await,
        Verb::Status(args) => status::run(session, args).await,
        Verb::Check(args) => check::run(&session, &args),
        Verb::Test(args) => Box::pin(test::run(session, *args, keys)).await,
        Verb::Definitions(args) => definitions::run(session, args).await,
        Verb::Register(args) => register::run(session, args).await,
        Verb::Activate(args) => activate::run(session, args).await,
    }
}

/// An open connection and how to print what comes over it.
#[derive(Debug)]
struct Session {
    sagas: SagaServiceClient<Channel>,
    operators: OperatorServiceClient<Channel>,
    url: String,
    format: Format,
    colour: bool,
}

impl Session {
    fn open(server: Server, identity: &Identity) -> Result<Self, Failure> {
        let channel = identity.channel(&server.url, "saga")?;
        Ok(Self {
            sagas: SagaServiceClient::new(channel.clone()),
            operators: OperatorServiceClient::new(channel),
            url: server.url,
            format: server.output,
            colour: output::colour(),
        })
    }

    fn failure(&self, status: &tonic::Status) -> Failure {
        client::failure(status, &self.url)
    }

    /// Prints one message: `table` for people, else as JSON.
    fn print<M: prost::Message>(
        &self,
        type_name: &str,
        message: &M,
        table: impl FnOnce(bool) -> String,
    ) -> Result<(), Failure> {
        output::print(self.format, self.colour, type_name, message, table)
    }
}
