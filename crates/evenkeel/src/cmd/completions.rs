//! `evenkeel completions`.

use clap_complete::Shell;

use crate::exit::{Code, Failure};
use crate::output;

/// Prints what makes a shell complete the commands, their flags and their values
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  source <(evenkeel completions bash)
  evenkeel completions zsh > \"${fpath[1]}/_evenkeel\"
  evenkeel completions fish > ~/.config/fish/completions/evenkeel.fish")]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

/// Runs `evenkeel completions`.
pub(crate) fn run(args: &Args, mut command: clap::Command) -> Result<Code, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "evenkeel", &mut script);
    output::emit(&String::from_utf8_lossy(&script))?;
    Ok(Code::Ok)
}
