//! `evenkeel keys`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Subcommand;
use token::Created;

use crate::exit::{Code, Failure};
use crate::identity;
use crate::output;

/// Makes the keys by which services know each other
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel keys init /etc/evenkeel/keys
  evenkeel keys token --as operator --for saga")]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Makes key pairs in a directory; what is there is never overwritten
    ///
    /// NAME.key.pem is for that service alone; NAME.pub.pem is for all, and says that NAME is a service. To replace a key,
    /// remove both files, make new ones, and restart the service: the others find the new key within seconds.
    #[command(after_help = "Examples:
  evenkeel keys init .evenkeel/keys                  for everybody: saga, quota, task, auth, gateway, operator, bench
  evenkeel keys init /etc/evenkeel/keys billing      for a service of yours")]
    Init {
        /// Where to write; made if it is not there
        dir: PathBuf,
        /// Whose keys; everybody's if none is named
        names: Vec<String>,
    },
    /// Prints a token that is good for 5 minutes, for tools such as grpcurl
    #[command(after_help = "Example:
  grpcurl -plaintext -H \"authorization: Bearer $(evenkeel keys token --as operator --for saga)\" \\
    127.0.0.1:7101 evenkeel.saga.v1.SagaService/ListSagas")]
    Token {
        /// Who calls; its private key must be in the directory of keys
        #[arg(long = "as", value_name = "NAME", default_value = token::OPERATOR)]
        caller: String,
        /// Which service is called
        #[arg(long = "for", value_name = "SERVICE")]
        audience: String,
    },
}

/// Runs one `evenkeel keys` command.
pub(crate) fn run(args: Args, keys: Option<&Path>) -> Result<Code, Failure> {
    match args.verb {
        Verb::Init { dir, names } => init(&dir, &names),
        Verb::Token { caller, audience } => {
            let dir = keys.unwrap_or(Path::new(identity::DEFAULT_DIR));
            let credentials = identity::open(dir, &caller)?;
            let token = credentials.token(&identity::name(&audience)?, SystemTime::now());
            output::emit(&format!("{token}\n"))?;
            Ok(Code::Ok)
        }
    }
}

fn init(dir: &Path, names: &[String]) -> Result<Code, Failure> {
    let everybody = || identity::EVERYBODY.map(str::to_owned).to_vec();
    let names = if names.is_empty() {
        everybody()
    } else {
        names.to_vec()
    };
    for name in &names {
        let done = match identity::create(dir, name)? {
            Created::New => "made",
            Created::Completed => "public half written",
            Created::Kept => "kept as it is",
        };
        output::emit(&format!("{name}: {done}\n"))?;
    }
    let dir = identity::absolute(dir);
    output::emit(&format!("\n  export {}={}\n", identity::VARIABLE, dir.display()))?;
    Ok(Code::Ok)
}
