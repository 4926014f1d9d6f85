//! `evenkeel kms rewrap`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use kms::Kms;
use kms::rewrap::{Column, Error, Report, Walk};
use process::{PoolConfig, pool};
use serde_json::{Value, json};

use super::file::{self, Fate};
use crate::exit::{Code, Failure};
use crate::output::{self, Format, Table};
use crate::wiring::settings::DEV_DATABASE_URL;

/// How often the progress is told.
const TELL: Duration = Duration::from_secs(1);
/// Connections: fields are re-wrapped eight at a time.
const CONNECTIONS: u32 = 8;

/// Moves what is sealed to the key that seals now, while everything runs
///
/// Goes through every sealed column of the database, in batches without locks, and through the files that are named. First
/// make every process seal under the new key (docs/operations.md, "Keys of encrypted fields"). May be interrupted at any time
/// and started again. Exits with 0 if all that was seen is under the current key now; with --dry-run, if all of it opens.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel kms rewrap --dry-run                           opens everything, says what is under an old key
  evenkeel kms rewrap --file /etc/evenkeel/wechat.key.pem --file /etc/evenkeel/alipay.key
  evenkeel kms rewrap --after billing.payees.recipient_sealed:01939a3c-5e8b-7c3f-9d2a-4b6c8e0f1a2b
  evenkeel kms rewrap -o json | jq .columns")]
pub(crate) struct Args {
    /// Writes nothing: opens every field and file, and counts those under an old key
    #[arg(long)]
    dry_run: bool,
    /// Goes on after this row, as an interrupted run has told
    #[arg(long, value_name = "TABLE.COLUMN:KEY")]
    after: Option<Cursor>,
    /// A sealed file to be re-wrapped as well
    #[arg(long = "file", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Re-wraps the files only
    #[arg(long, requires = "files")]
    only_files: bool,
    /// Database of the services
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
}

/// A row up to which a column is done.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    column: String,
    key: String,
}

impl FromStr for Cursor {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known: Vec<String> = billing::SEALED.iter().map(name).collect();
        match text.split_once(':') {
            Some((column, key)) if known.iter().any(|known| known == column) && !key.is_empty() => Ok(Self {
                column: column.to_owned(),
                key: key.to_owned(),
            }),
            _ => Err(format!(
                "expected COLUMN:KEY, with a column of {}",
                known.join(", ")
            )),
        }
    }
}

fn name(column: &Column) -> String {
    format!("{}.{}", column.table, column.column)
}

/// Runs `evenkeel kms rewrap`.
pub(super) async fn run(args: Args, kms: &Kms) -> Result<Code, Failure> {
    let mut files = Vec::new();
    for path in &args.files {
        files.push((path.clone(), file::rewrap(kms, path, args.dry_run).await?));
    }
    let columns = if args.only_files {
        Vec::new()
    } else {
        columns(&args, kms).await?
    };
    let good = columns.iter().all(|(_, report)| {
        if args.dry_run {
            report.failed == 0
        } else {
            report.is_clean()
        }
    });
    let value = json!({
        "key": kms.current().to_string(),
        "columns": columns.iter().map(json_of).collect::<Vec<_>>(),
        "files": files.iter().map(|(path, fate)| json!({"file": path, "state": said(*fate)})).collect::<Vec<_>>(),
    });
    output::emit(&match args.output {
        Format::Table => table(&columns, &files, kms),
        Format::Json => format!("{value:#}\n"),
        Format::Jsonl => format!("{value}\n"),
    })?;
    Ok(if good { Code::Ok } else { Code::Failed })
}

async fn columns(args: &Args, kms: &Kms) -> Result<Vec<(Column, Report)>, Failure> {
    let config = PoolConfig {
        url: args.database_url.clone(),
        min: 0,
        max: CONNECTIONS,
        ..PoolConfig::default()
    };
    let pool = pool::connect("cli", billing::SCHEMA, &config).await;
    let pool = pool.map_err(|error| unreachable(&error))?;
    let mut done = Vec::new();
    let first = args.after.as_ref().map(|cursor| cursor.column.as_str());
    let from = billing::SEALED
        .iter()
        .skip_while(|column| first.is_some_and(|first| first != name(column)));
    for column in from {
        let mut walk = Walk::new(pool.clone(), kms.clone(), *column);
        if args.dry_run {
            walk = walk.look();
        }
        if let Some(cursor) = args.after.as_ref().filter(|cursor| cursor.column == name(column)) {
            walk = walk.after(cursor.key.as_str());
        }
        walk_through(&mut walk, column).await?;
        done.push((*column, walk.into_report()));
    }
    pool.close().await;
    Ok(done)
}

/// Walks to the end, and tells how far it has come.
async fn walk_through(walk: &mut Walk, column: &Column) -> Result<(), Failure> {
    let mut told = Instant::now();
    loop {
        let step = walk.step().await;
        let cursor = walk.cursor().map(|key| format!("{}:{key}", name(column)));
        match step {
            Ok(true) => return Ok(()),
            Ok(false) if told.elapsed() >= TELL => {
                told = Instant::now();
                let place = cursor.unwrap_or_default();
                output::remark(&format!("{}; done up to {place}", walk.report()));
            }
            Ok(false) => {}
            Err(error) => {
                let failure = match &error {
                    Error::Database(_) => unreachable(&error),
                    Error::Keys(error) => super::failed("the walk has stopped", error),
                };
                return Err(match cursor {
                    Some(cursor) => failure.next(format!("go on with --after {cursor}")),
                    None => failure,
                });
            }
        }
    }
}

fn unreachable(error: &dyn std::error::Error) -> Failure {
    Failure::unavailable("the sealed fields cannot be reached")
        .because(error)
        .next("set DATABASE_URL (or --database-url) to the services' database and start it")
}

const fn said(fate: Fate) -> &'static str {
    match fate {
        Fate::Current => "current",
        Fate::Old => "old",
        Fate::Rewrapped => "rewrapped",
    }
}

fn json_of((column, report): &(Column, Report)) -> Value {
    let failures: Vec<Value> = report
        .failures
        .iter()
        .map(|(key, error)| json!({"key": key, "error": error.to_string()}))
        .collect();
    json!({
        "column": name(column),
        "seen": report.seen,
        "current": report.current,
        "old": report.old,
        "rewrapped": report.rewrapped,
        "gone": report.gone,
        "raced": report.raced,
        "failed": report.failed,
        "failures": failures,
    })
}

fn table(columns: &[(Column, Report)], files: &[(PathBuf, Fate)], kms: &Kms) -> String {
    let mut table = Table::new(&["SEALED", "STATE"]);
    for (column, report) in columns {
        table.row(vec![
            name(column).as_str().into(),
            report.to_string().as_str().into(),
        ]);
    }
    for (path, fate) in files {
        table.row(vec![
            path.display().to_string().as_str().into(),
            said(*fate).into(),
        ]);
    }
    let mut text = format!(
        "{}\nThe key that seals: {}\n",
        table.render(output::colour()),
        kms.current()
    );
    for (column, report) in columns {
        for (key, error) in &report.failures {
            text.push_str(&format!("{}:{key}: {error}\n", name(column)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_names_a_sealed_column_and_a_key() {
        let cursor: Cursor = "billing.payees.recipient_sealed:0193".parse().unwrap();
        assert_eq!(cursor.key, "0193");
        for wrong in [
            "0193",
            "billing.payees.recipient_sealed:",
            "billing.orders.id:1",
            "",
        ] {
            let refused = wrong.parse::<Cursor>().unwrap_err();
            assert!(refused.contains("billing.payees.recipient_sealed"), "{refused}");
        }
    }
}
