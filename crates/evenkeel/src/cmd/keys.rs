//! `evenkeel keys`.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::Subcommand;
use kms::{Change, FileError};
use token::Created;

use crate::certificates::{self, Done, Order};
use crate::exit::{Code, Failure};
use crate::identity;
use crate::output;

/// Makes keys: those by which services know each other, their certificates, and those that encrypt
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel keys init /etc/evenkeel/keys
  evenkeel keys certificates .evenkeel/tls
  evenkeel keys kms-file --out /etc/evenkeel/kms.json
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
    /// Makes a file with the key under which fields are encrypted (setting `kms.local.file`), or changes one
    ///
    /// Only its owner may read it. What is encrypted is lost with this file: keep a copy, apart from backups of the database.
    /// A new version opens at first and does not seal, because every process has to know it before one of them uses it:
    /// --add, give all of them the file and restart them, --current, do so again, and then re-wrap what is stored.
    #[command(after_help = "Examples:
  evenkeel keys kms-file --out /etc/evenkeel/kms.json                    makes it; never overwrites one
  evenkeel keys kms-file --out /etc/evenkeel/kms.json --add              adds a version that opens
  evenkeel keys kms-file --out /etc/evenkeel/kms.json --current          the newest version seals
  evenkeel keys kms-file --out /etc/evenkeel/kms.json --add --current    both, where one process has it")]
    KmsFile {
        /// The file
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Adds a version to a file that is there
        #[arg(long)]
        add: bool,
        /// Makes the newest version of a file that is there the one that seals
        #[arg(long)]
        current: bool,
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
        Verb::KmsFile { out, add, current } => kms_file(&out, add, current),
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

fn kms_file(path: &Path, add: bool, make_current: bool) -> Result<Code, Failure> {
    let done = if add || make_current {
        kms::change_file(path, Change { add, make_current })
    } else {
        kms::create_file(path)
    };
    let kms::Outcome {
        name,
        newest,
        current,
    } = done.map_err(|error| kms_failure(&error))?;
    output::emit(&format!(
        "{}: key {name}, version {current} seals, {newest} is the newest\n",
        path.display()
    ))?;
    if !add && !make_current {
        let path = identity::absolute(path);
        output::emit(&format!(
            "\n  export EVENKEEL_KMS__LOCAL__FILE={}\n",
            path.display()
        ))?;
    }
    Ok(Code::Ok)
}

fn kms_failure(error: &FileError) -> Failure {
    match error {
        FileError::Exists(_) => Failure::new(Code::Failed, "nothing was written")
            .because(error)
            .next("--add adds a version to it"),
        FileError::Open { .. } | FileError::Content { .. } => {
            Failure::config("the key file cannot be used").because(error)
        }
        FileError::Read { .. } | FileError::Write { .. } | FileError::Busy(_) | FileError::Random => {
            Failure::unavailable("nothing was written").because(error)
        }
    }
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
