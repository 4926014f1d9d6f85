//! `evenkeel keys`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Subcommand;
use token::Created;

use crate::certificates::{self, Done, Order};
use crate::exit::{Code, Failure};
use crate::identity;
use crate::output;

/// Makes the keys and certificates by which services know each other
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel keys init /etc/evenkeel/keys
  evenkeel keys certificates .evenkeel/tls
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
    /// Makes certificates for mutual TLS, and an authority that issues them: for development and tests
    ///
    /// NAME.cert.pem and NAME.cert-key.pem are for that service alone, ca.cert.pem is for all. Whoever reads ca.cert-key.pem
    /// can be anybody, which is why production has an authority of its own. Running servers use renewed files within seconds.
    #[command(after_help = "Examples:
  evenkeel keys certificates .evenkeel/tls                       for everybody: saga, quota, task, auth, gateway, ...
  evenkeel keys certificates .evenkeel/tls quota --host quota.internal --host 10.0.0.7
  evenkeel keys certificates .evenkeel/tls --renew --days 7")]
    Certificates {
        /// Where to write; made if it is not there
        dir: PathBuf,
        /// Whose certificates; everybody's if none is named
        names: Vec<String>,
        /// A further DNS name or IP address under which they are reached, besides the own name and this machine
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        /// How long they are valid
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u16).range(1..=3650))]
        days: u16,
        /// Replaces what is there, except the authority
        #[arg(long)]
        renew: bool,
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
        Verb::Init { dir, names } => init(&dir, names),
        Verb::Certificates {
            dir,
            names,
            hosts,
            days,
            renew,
        } => {
            let order = Order {
                hosts: &hosts,
                days,
                renew,
            };
            make_certificates(&dir, names, &order)
        }
        Verb::Token { caller, audience } => {
            let dir = keys.unwrap_or(Path::new(identity::DEFAULT_DIR));
            let credentials = identity::open(dir, &caller)?;
            let token = credentials.token(&identity::name(&audience)?, SystemTime::now());
            output::emit(&format!("{token}\n"))?;
            Ok(Code::Ok)
        }
    }
}

fn make_certificates(dir: &Path, names: Vec<String>, order: &Order<'_>) -> Result<Code, Failure> {
    let names = or_everybody(names);
    let done = certificates::issue(dir, &names, order)?;
    for (name, done) in names.iter().zip(done) {
        let done = match done {
            Done::Made => "made",
            Done::Kept => "kept as it is",
        };
        output::emit(&format!("{name}: {done}\n"))?;
    }
    output::emit("\nFor commands that call services:\n")?;
    for (name, file) in certificates::variables(&identity::absolute(dir), token::OPERATOR) {
        output::emit(&format!("  export {name}={}\n", file.display()))?;
    }
    Ok(Code::Ok)
}

fn or_everybody(names: Vec<String>) -> Vec<String> {
    if names.is_empty() {
        identity::EVERYBODY.map(str::to_owned).to_vec()
    } else {
        names
    }
}

fn init(dir: &Path, names: Vec<String>) -> Result<Code, Failure> {
    for name in &or_everybody(names) {
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
