//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::bench;
use crate::cmd;
use crate::exit::{self, Code, Failure};
use crate::identity::{self, Identity};
use crate::output;

const EXAMPLES: &str = "\
Examples:
  evenkeel dev --demo --exit      play the six stories and end
  evenkeel dev                    run everything here, until Ctrl-C
  evenkeel saga list              what is going on
  evenkeel doctor                 what is wrong, and what to do about it";

/// Runs sagas over gRPC services: what it started it ends, or undoes.
#[derive(Debug, Parser)]
#[command(name = "evenkeel", version, max_term_width = 110, after_help = format!("{EXAMPLES}\n\n{}", exit::HELP))]
pub(crate) struct Cli {
    /// Directory with keys: the operator's for commands that call services, the services' own for servers
    /// [default: .evenkeel/keys]
    #[arg(long, global = true, env = identity::VARIABLE, value_name = "DIR")]
    keys: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Dev(cmd::dev::Args),
    Serve(cmd::serve::Args),
    Migrate(cmd::migrate::Args),
    Keys(cmd::keys::Args),
    Kms(cmd::kms::Args),
    Saga(cmd::saga::Args),
    Quota(cmd::quota::Args),
    Task(cmd::task::Args),
    User(cmd::user::Args),
    Billing(cmd::billing::Args),
    Participant(cmd::participant::Args),
    Proto(cmd::proto::Args),
    Events(cmd::events::Args),
    Doubles(cmd::doubles::Args),
    Doctor(cmd::doctor::Args),
    Bench(bench::Args),
    Completions(cmd::completions::Args),
}

/// Parses the arguments of this process, runs the command, and reports a failure on standard error.
pub(crate) fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(&Failure::unavailable("cannot start threads").because(&error)),
    };
    let result = runtime.block_on(run(cli.command, cli.keys));
    // A blocked read of standard input must not keep the process.
    runtime.shutdown_background();
    match result {
        Ok(code) => code.into(),
        Err(failure) => report(&failure),
    }
}

async fn run(command: Command, keys: Option<PathBuf>) -> Result<Code, Failure> {
    let operator = || Identity::operator(keys.as_deref());
    match command {
        Command::Dev(args) => Box::pin(cmd::dev::run(args, keys)).await,
        Command::Serve(args) => Box::pin(cmd::serve::run(args, keys)).await,
        Command::Migrate(args) => cmd::migrate::run(args).await,
        Command::Keys(args) => cmd::keys::run(args, keys.as_deref()),
        Command::Kms(args) => cmd::kms::run(args, keys).await,
        Command::Saga(args) => cmd::saga::run(args, &operator()?, keys.as_deref()).await,
        Command::Quota(args) => cmd::quota::run(args, &operator()?).await,
        Command::Task(args) => cmd::task::run(args, &operator()?).await,
        Command::Billing(args) => cmd::billing::run(args, &operator()?).await,
        Command::User(args) => cmd::user::run(args).await,
        Command::Participant(args) => cmd::participant::run(args, keys.as_deref()).await,
        Command::Proto(args) => cmd::proto::run(args),
        Command::Events(args) => cmd::events::run(args).await,
        Command::Doubles(args) => cmd::doubles::run(args).await,
        Command::Doctor(args) => cmd::doctor::run(args, operator()?, keys).await,
        Command::Bench(args) => bench::run(args).await,
        Command::Completions(args) => cmd::completions::run(&args, Cli::command()),
    }
}

fn report(failure: &Failure) -> ExitCode {
    if !failure.is_silent() {
        output::remark(&failure.to_string());
    }
    failure.code().into()
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::*;

    fn leaves(command: &Command, path: &str, found: &mut Vec<(String, String)>) {
        let path = format!("{path} {}", command.get_name());
        let mut subcommands = command.get_subcommands().peekable();
        if subcommands.peek().is_none() {
            let help = command.clone().render_long_help().to_string();
            found.push((path, help));
            return;
        }
        for subcommand in subcommands {
            leaves(subcommand, &path, found);
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_explains_itself_with_examples() {
        let mut found = Vec::new();
        leaves(&Cli::command(), "", &mut found);
        assert!(found.len() >= 10, "{found:?}");
        for (path, help) in found {
            assert!(help.contains("Example"), "{path} has no example:\n{help}");
            let about = help.lines().next().unwrap_or_default();
            assert!(about.len() > 10, "{path} does not say what it does:\n{help}");
        }
    }

    #[test]
    fn the_document_on_the_command_line_names_every_command_and_exit_code() {
        let text = include_str!("../../../docs/cli.md");
        let mut found = Vec::new();
        leaves(&Cli::command(), "", &mut found);
        for (path, _) in found {
            let own = [" bench participant", " bench baseline", " bench backend"];
            let hidden = own.iter().any(|command| path.ends_with(command));
            assert!(
                hidden || text.contains(&format!("`{}", path.trim())),
                "{path} is missing"
            );
        }
        for line in exit::HELP.lines().skip(1) {
            let code = line.split_whitespace().next().expect("a code");
            assert!(
                text.contains(&format!("| {code} |")),
                "exit code {code} is missing"
            );
        }
    }

    #[test]
    fn the_exit_codes_are_in_the_help() {
        let help = Cli::command().render_long_help().to_string();
        for code in ["  0 ", "  1 ", "  2 ", "  64 ", "  69 ", "  70 ", "  75 "] {
            assert!(help.contains(code), "{code} is missing:\n{help}");
        }
    }
}
