//! `evenkeel events`: dead letters, for people. They lie in the database, whichever broker delivers.

use chrono::Utc;
use clap::Subcommand;
use events::dead::{self, Act, Filter, Letter};
use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::client;
use crate::exit::{Code, Failure};
use crate::output::{self, Cell, Format, Table, Tone, printable};
use crate::render::time::span;
use crate::wiring::database;
use crate::wiring::settings::DEV_DATABASE_URL;

/// Letters that `--all` reads and changes at a time.
const PAGE: u16 = 500;
/// Longest reason and key in a table, in characters.
const SHOWN_CHARS: usize = 60;

/// Shows dead letters, which are messages that could not be applied, and sends them back or drops them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel events list
  evenkeel events replay --queue saga.replies --all --reason 'the definition is mended'")]
pub(crate) struct Args {
    /// Database of the services
    #[arg(
        long,
        global = true,
        env = "DATABASE_URL",
        hide_env_values = true,
        value_name = "URL",
        default_value = DEV_DATABASE_URL
    )]
    database_url: String,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Lists dead letters, oldest first
    #[command(after_help = "Examples:
  evenkeel events list
  evenkeel events list --queue saga.replies --all -o jsonl")]
    List {
        /// Only those of this queue
        #[arg(long, value_name = "QUEUE")]
        queue: Option<String>,
        /// Letters a page, 1 to 500
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500), value_name = "N")]
        limit: u16,
        /// Goes on after this one
        #[arg(long, value_name = "ID", conflicts_with = "all")]
        after: Option<Uuid>,
        /// Prints every page
        #[arg(long)]
        all: bool,
    },
    /// Shows one dead letter with its message, and what people did with it
    #[command(after_help = "Example:\n  evenkeel events show 01939a3c-5e8b-7c3f-9d2a-4b6c8e0f1a2b")]
    Show {
        /// Id of the dead letter
        #[arg(value_name = "ID")]
        id: Uuid,
    },
    /// Sends dead letters back to the queues they died in; what was applied before is not applied again
    #[command(after_help = "Examples:
  evenkeel events replay 01939a3c-5e8b-7c3f-9d2a-4b6c8e0f1a2b --reason 'the order exists now'
  evenkeel events replay --queue saga.replies --all --reason 'the definition is mended'")]
    Replay(Which),
    /// Drops dead letters for good; the audit keeps what they held
    #[command(after_help = "Examples:
  evenkeel events drop 01939a3c-5e8b-7c3f-9d2a-4b6c8e0f1a2b --reason 'a test order'
  evenkeel events drop --queue saga.replies --all --reason 'sagas of the test system'")]
    Drop(Which),
}

/// Which dead letters, and why.
#[derive(Debug, clap::Args)]
struct Which {
    /// Ids of dead letters
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<Uuid>,
    /// Every one of --queue
    #[arg(long, requires = "queue")]
    all: bool,
    /// The queue that --all is about
    #[arg(long, value_name = "QUEUE", requires = "all")]
    queue: Option<String>,
    /// Why; kept in the audit with your name ($EVENKEEL_ACTOR, else the login name)
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
}

/// Runs one `evenkeel events` command.
pub(crate) async fn run(args: Args) -> Result<Code, Failure> {
    let mut conn = database::connect(&args.database_url).await?;
    match args.verb {
        Verb::List {
            queue,
            limit,
            after,
            all,
        } => list(&mut conn, args.output, Filter { queue, after }, limit, all).await,
        Verb::Show { id } => show(&mut conn, args.output, id).await,
        Verb::Replay(which) => act(&mut conn, args.output, which, Doing::Replay).await,
        Verb::Drop(which) => act(&mut conn, args.output, which, Doing::Drop).await,
    }
}

fn failed(error: &sqlx::Error) -> Failure {
    Failure::unavailable("the dead letters cannot be reached")
        .because(error)
        .next("if the schema is absent: evenkeel migrate")
}

async fn list(
    conn: &mut PgConnection,
    format: Format,
    mut filter: Filter,
    limit: u16,
    all: bool,
) -> Result<Code, Failure> {
    let limit = if all { PAGE } else { limit };
    let mut seen = Vec::new();
    loop {
        let page = dead::list(&mut *conn, &filter, limit)
            .await
            .map_err(|error| failed(&error))?;
        let next = page
            .last()
            .filter(|_| page.len() == usize::from(limit))
            .map(|last| last.id);
        match format {
            Format::Table => output::emit(&table(&page).render(output::colour()))?,
            Format::Json => seen.extend(page.iter().map(|letter| json_of(letter, false))),
            Format::Jsonl => {
                let lines = page.iter().map(|letter| format!("{}\n", json_of(letter, false)));
                output::emit(&lines.collect::<String>())?;
            }
        }
        filter.after = next;
        if next.is_none() || !all {
            break;
        }
    }
    if format == Format::Json {
        let next = filter.after.map(|id| id.to_string());
        output::emit(&format!("{:#}\n", json!({ "deadLetters": seen, "next": next })))?;
    } else if let Some(next) = filter.after {
        output::remark(&format!("there may be more: --after {next}"));
    }
    Ok(Code::Ok)
}

async fn show(conn: &mut PgConnection, format: Format, id: Uuid) -> Result<Code, Failure> {
    let letter = dead::find(&mut *conn, id).await.map_err(|error| failed(&error))?;
    let acts = dead::acts(&mut *conn, id).await.map_err(|error| failed(&error))?;
    if letter.is_none() && acts.is_empty() {
        return Err(
            Failure::new(Code::Failed, format!("there is no dead letter {id}"))
                .next("see what there is: evenkeel events list"),
        );
    }
    let value = || {
        json!({
            "deadLetter": letter.as_ref().map(|letter| json_of(letter, true)),
            "acts": acts.iter().map(json_of_act).collect::<Vec<_>>(),
        })
    };
    match format {
        Format::Table => output::emit(&page(letter.as_ref(), &acts, output::colour()))?,
        Format::Json => output::emit(&format!("{:#}\n", value()))?,
        Format::Jsonl => output::emit(&format!("{}\n", value()))?,
    }
    Ok(Code::Ok)
}

/// What to do with dead letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Replay,
    Drop,
}

async fn act(conn: &mut PgConnection, format: Format, which: Which, doing: Doing) -> Result<Code, Failure> {
    let actor = client::actor();
    let mut done = Vec::new();
    let mut filter = Filter {
        queue: which.queue.clone(),
        after: None,
    };
    loop {
        let ids = if which.all {
            let page = dead::list(&mut *conn, &filter, PAGE)
                .await
                .map_err(|error| failed(&error))?;
            page.into_iter().map(|letter| letter.id).collect()
        } else {
            which.ids.clone()
        };
        let Some(last) = ids.last() else { break };
        filter.after = Some(*last);
        let changed = match doing {
            Doing::Replay => dead::replay(&mut *conn, &ids, &actor, &which.reason).await,
            Doing::Drop => dead::discard(&mut *conn, &ids, &actor, &which.reason).await,
        };
        done.extend(changed.map_err(|error| failed(&error))?);
        if !which.all {
            break;
        }
    }
    let word = match doing {
        Doing::Replay => "replayed",
        Doing::Drop => "dropped",
    };
    match format {
        Format::Table => output::emit(&format!("{} {word}\n", done.len()))?,
        Format::Json => output::emit(&format!("{:#}\n", json!({ word: done })))?,
        Format::Jsonl => output::emit(&format!("{}\n", json!({ word: done })))?,
    }
    if which.all || done.len() == which.ids.len() {
        return Ok(Code::Ok);
    }
    let left: Vec<String> = which
        .ids
        .iter()
        .filter(|id| !done.contains(id))
        .map(Uuid::to_string)
        .collect();
    output::remark(&format!("not there, or asked for already: {}", left.join(" ")));
    Ok(Code::Failed)
}

fn table(letters: &[Letter]) -> Table {
    let mut table = Table::new(&["ID", "QUEUE", "TOPIC", "KEY", "DIED", "DEATHS", "REASON"]);
    for letter in letters {
        let died = format!("{} ago", span(Utc::now() - letter.died_at));
        let reason = match letter.replay_at {
            Some(_) => Cell::new("going back to its queue", Tone::Good),
            None => Cell::new(cut(&letter.reason), Tone::Warn),
        };
        table.row(vec![
            letter.id.to_string().into(),
            (&letter.queue).into(),
            letter.topic.as_deref().unwrap_or("-").into(),
            cut(letter.key.as_deref().unwrap_or("-")).into(),
            died.into(),
            letter.deaths.to_string().into(),
            reason,
        ]);
    }
    table
}

fn cut(text: &str) -> String {
    if text.chars().count() <= SHOWN_CHARS {
        return text.to_owned();
    }
    text.chars().take(SHOWN_CHARS - 1).chain(['…']).collect()
}

fn page(letter: Option<&Letter>, acts: &[Act], colour: bool) -> String {
    let mut text = String::new();
    if let Some(letter) = letter {
        let mut table = Table::plain();
        let mut row = |name: &str, value: &str| {
            table.row(vec![Cell::new(name, Tone::Dim), value.into()]);
        };
        row("id", &letter.id.to_string());
        row("queue", &letter.queue);
        row("topic", letter.topic.as_deref().unwrap_or("-"));
        row("event", letter.event_id.as_deref().unwrap_or("-"));
        row("key", letter.key.as_deref().unwrap_or("-"));
        row("died", &letter.died_at.to_rfc3339());
        row("deaths", &letter.deaths.to_string());
        row("deliveries", &letter.deliveries.to_string());
        row("reason", &letter.reason);
        if let Some(at) = letter.replay_at {
            row("going back", &format!("asked for {}", at.to_rfc3339()));
        }
        text.push_str(&table.render(colour));
        text.push('\n');
        text.push_str(&message(&letter.body));
        text.push('\n');
    } else {
        text.push_str("gone\n");
    }
    if !acts.is_empty() {
        let mut table = Table::new(&["AT", "WHO", "DID", "WHY"]);
        for act in acts {
            table.row(vec![
                act.at.to_rfc3339().into(),
                (&act.actor).into(),
                (&act.action).into(),
                (&act.note).into(),
            ]);
        }
        text.push('\n');
        text.push_str(&table.render(colour));
    }
    text
}

/// The message for people: JSON over several lines, or its text without control characters.
fn message(body: &[u8]) -> String {
    match serde_json::from_slice::<Value>(body) {
        // JSON escapes control characters itself.
        Ok(value) => format!("{value:#}"),
        Err(_) => printable(&String::from_utf8_lossy(body)),
    }
}

fn json_of(letter: &Letter, with_message: bool) -> Value {
    let mut value = json!({
        "id": letter.id,
        "queue": letter.queue,
        "topic": letter.topic,
        "eventId": letter.event_id,
        "key": letter.key,
        "reason": letter.reason,
        "deliveries": letter.deliveries,
        "deaths": letter.deaths,
        "diedAt": letter.died_at,
        "replayAt": letter.replay_at,
    });
    if with_message {
        let message = serde_json::from_slice(&letter.body)
            .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&letter.body)));
        value["message"] = message;
    }
    value
}

fn json_of_act(act: &Act) -> Value {
    json!({ "at": act.at, "actor": act.actor, "action": act.action, "note": act.note })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(body: &[u8]) -> Letter {
        Letter {
            id: Uuid::nil(),
            queue: "saga.replies".to_owned(),
            topic: None,
            event_id: None,
            key: Some("k\u{1b}[2J".repeat(40)),
            reason: "it cannot be read:\nnot JSON".to_owned(),
            deliveries: 1,
            deaths: 2,
            died_at: Utc::now(),
            replay_at: None,
            body: body.to_vec(),
        }
    }

    #[test]
    fn a_message_cannot_steer_the_terminal() {
        for body in [b"\x1b[2J\xff" as &[u8], b"\"\\u001b[2J\""] {
            let text = page(Some(&letter(body)), &[], false) + &table(&[letter(body)]).render(false);
            assert!(!text.contains('\u{1b}'), "{text:?}");
        }
    }

    #[test]
    fn a_message_is_shown_as_json_where_it_is_json() {
        assert_eq!(json_of(&letter(b"{\"a\":1}"), true)["message"], json!({ "a": 1 }));
        assert_eq!(json_of(&letter(b"\xff{"), true)["message"], json!("\u{fffd}{"));
        assert_eq!(json_of(&letter(b"{}"), false).get("message"), None);
    }
}
