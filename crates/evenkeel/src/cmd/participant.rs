//! `evenkeel participant check`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use conformance::Verdict;
use conformance::participant::{self, Count, CountMethod, Operation, Row, Subject, Template};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use serde_json::{Value, json};

use crate::cmd::input;
use crate::exit::{Code, Failure};
use crate::identity::Identity;
use crate::output::{self, Cell, Format, Table, Tone};
use crate::wiring::settings;

/// Checks that services keep the rules of a participant
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Check(Box<Check>),
}

/// Calls a step as the orchestrator does, twice, late and at once, and says which rule does not hold
///
/// For any gRPC server in any language; the rules are in docs/sagas.md. No orchestrator is needed. The calls are real: what
/// they do is undone where there is a compensation, and only a participant on this machine is called unless
/// --not-production says that it may be. With a count, effects are seen, not only replies: the first action shows by how much
/// one effect changes it, and nobody else may change it meanwhile. Exits with 1 if a rule does not hold.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel participant check --participants evenkeel.toml \\
    --action acme.shop.v1.ShopSteps/ReserveStock --compensation acme.shop.v1.ShopSteps/ReleaseStock \\
    --request '{\"item\": \"kettle\", \"quantity\": 1}' --refused-request '{\"item\": \"kettle\", \"quantity\": 9999}' \\
    --count-cmd \"psql -At $DATABASE_URL -c \\\"select available from shop.stock where item = 'kettle'\\\"\"
  evenkeel participant check --url http://127.0.0.1:7192 --error-domain travel.acme --descriptors travel.binpb \\
    --action acme.travel.v1.TravelSteps/BookHotel --request '{\"trip_id\": \"check-{n}\", \"city\": \"Lisbon\"}' \\
    --compensation acme.travel.v1.TravelSteps/CancelHotel --compensation-request '{\"trip_id\": \"check-{n}\"}'")]
struct Check {
    /// Method of the action
    #[arg(long, value_name = "PACKAGE.SERVICE/METHOD")]
    action: String,
    /// Request of the action, one that succeeds, as JSON, @FILE or @-; each {n} in it becomes a number that is new
    /// each time
    #[arg(long, value_name = "JSON")]
    request: String,
    /// Method that undoes it
    #[arg(long, value_name = "PACKAGE.SERVICE/METHOD")]
    compensation: Option<String>,
    /// Its request; {n} is the action's [default: the action's, as far as the fields are there]
    #[arg(long, value_name = "JSON", requires = "compensation")]
    compensation_request: Option<String>,
    /// Another request of the action that would succeed, for the same key [default: the first with one value changed]
    #[arg(long, value_name = "JSON")]
    other_request: Option<String>,
    /// Request of the action that is refused
    #[arg(long, value_name = "JSON")]
    refused_request: Option<String>,
    /// The orchestrator's settings: URL, error domain and descriptors of the action's package
    #[arg(long, value_name = "FILE")]
    participants: Option<PathBuf>,
    /// Where the participant answers [default: from --participants]
    #[arg(long)]
    url: Option<String>,
    /// Domain of its refusals [default: from --participants]
    #[arg(long, value_name = "DOMAIN")]
    error_domain: Option<String>,
    /// Encoded FileDescriptorSet with the methods, imports included (`evenkeel proto compile`)
    #[arg(long, value_name = "FILE")]
    descriptors: Vec<PathBuf>,
    /// Name under which the participant checks the orchestrator's tokens; they are made if there is a saga.key.pem in the
    /// directory of --keys [default: from --participants, else the package]
    #[arg(long, value_name = "NAME")]
    audience: Option<String>,
    /// Shell command whose output ends in a number that the action changes, and the compensation changes back
    #[arg(long, value_name = "COMMAND", conflicts_with = "count_method")]
    count_cmd: Option<String>,
    /// Method of the same server whose reply holds such a number
    #[arg(long, value_name = "PACKAGE.SERVICE/METHOD", requires = "count_path")]
    count_method: Option<String>,
    /// Its request
    #[arg(long, default_value = "{}", value_name = "JSON")]
    count_request: String,
    /// Where the number is in the reply's JSON: names and positions, joined by dots
    #[arg(long, value_name = "PATH", requires = "count_method")]
    count_path: Option<String>,
    /// Shell command that restarts the participant, and ends
    #[arg(long, value_name = "COMMAND")]
    restart_cmd: Option<String>,
    /// Bound of each answer's becoming final, of the count, and of the restart
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration, value_name = "TIME")]
    timeout: Duration,
    /// The participant may be called though it is not on this machine: its effects do no harm
    #[arg(long)]
    not_production: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Runs one `evenkeel participant` command.
pub(crate) async fn run(args: Args, keys: Option<&std::path::Path>) -> Result<Code, Failure> {
    let Verb::Check(args) = args.command;
    let identity = Identity::orchestrator(keys)?;
    let subject = subject(&args, &identity)?;
    let rows = participant::check(&subject, |row| {
        output::remark(&format!("{}  {}", row.verdict.name(), row.check));
    })
    .await;
    let passed = rows.iter().all(|row| row.verdict != Verdict::Fail);
    match args.output {
        Format::Table => output::emit(&table(&rows).render(output::colour()))?,
        Format::Jsonl => {
            for row in &rows {
                output::emit(&format!("{}\n", value(row)))?;
            }
        }
        Format::Json => {
            let checks: Vec<Value> = rows.iter().map(value).collect();
            output::emit(&format!("{:#}\n", json!({ "passed": passed, "checks": checks })))?;
        }
    }
    Ok(if passed { Code::Ok } else { Code::Failed })
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new(&["RESULT", "CHECK", "SAW"]);
    for row in rows {
        table.row(vec![
            Cell::new(row.verdict.name(), tone(row.verdict)),
            row.check.into(),
            (&row.saw).into(),
        ]);
        if !row.next.is_empty() {
            table.row(vec![
                "".into(),
                Cell::new("  what to do", Tone::Dim),
                row.next.into(),
            ]);
        }
    }
    table
}

/// What a verdict looks like.
pub(crate) const fn tone(verdict: Verdict) -> Tone {
    match verdict {
        Verdict::Pass => Tone::Good,
        Verdict::Fail => Tone::Bad,
        Verdict::Skip => Tone::Dim,
    }
}

fn value(row: &Row) -> Value {
    json!({ "check": row.check, "result": row.verdict.name(), "saw": row.saw, "next": row.next })
}

fn usage(text: impl Into<String>) -> Failure {
    Failure::new(Code::Usage, text)
}

/// Puts together what is checked.
fn subject(args: &Check, identity: &Identity) -> Result<Subject, Failure> {
    let mut pool = proto::descriptor_pool();
    for file in &args.descriptors {
        input::add_descriptors(&mut pool, file)?;
    }
    let package = args.action.rsplit_once('/').map_or("", |(service, _)| service);
    let package = package.rsplit_once('.').map_or("", |(package, _)| package);
    let configured = match &args.participants {
        None => None,
        Some(file) => settings::load(Some(file))?.saga.participants.remove(package),
    };
    if let Some(file) = configured.as_ref().and_then(|found| found.descriptors.as_ref())
        && pool.services().all(|service| service.package_name() != package)
    {
        input::add_descriptors(&mut pool, file)?;
    }
    let of_settings = |given: &Option<String>, option: &str, found: Option<String>| {
        given.clone().or(found).ok_or_else(|| {
            usage(format!("nothing says {option}")).next(format!(
                "give it, or settings with [saga.participants.\"{package}\"]: --participants FILE"
            ))
        })
    };
    let url = of_settings(
        &args.url,
        "--url",
        configured.as_ref().map(|found| found.url.clone()),
    )?;
    let domain = configured.as_ref().map(|found| found.error_domain.clone());
    let error_domain = of_settings(&args.error_domain, "--error-domain", domain)?;
    on_this_machine(&url, args.not_production)?;
    let audience = configured.and_then(|found| found.audience);
    // Our own services are called by their names, whatever the version of the package.
    let own = package
        .strip_prefix("evenkeel.")
        .and_then(|rest| rest.split('.').next());
    let audience = args.audience.clone().or(audience);
    let audience = audience.unwrap_or_else(|| own.unwrap_or(package).to_owned());

    let action = operation(&pool, &args.action, &args.request)?;
    let compensation = match &args.compensation {
        None => None,
        Some(name) => Some(match &args.compensation_request {
            Some(request) => operation(&pool, name, request)?,
            None => operation(&pool, name, &shared(&pool, name, &args.request)?)?,
        }),
    };
    let of_action = |request: &Option<String>| {
        let request = request.as_deref();
        request
            .map(|request| template(&action.method, request))
            .transpose()
    };
    let (other, refused) = (of_action(&args.other_request)?, of_action(&args.refused_request)?);
    Ok(Subject {
        line: identity.line(&url, &audience)?,
        error_domain,
        action,
        compensation,
        other,
        refused,
        count: count(args, &pool)?,
        restart: args.restart_cmd.clone(),
        patience: args.timeout,
    })
}

fn count(args: &Check, pool: &DescriptorPool) -> Result<Option<Count>, Failure> {
    if let Some(command) = &args.count_cmd {
        return Ok(Some(Count::Command(command.clone())));
    }
    let (Some(name), Some(path)) = (&args.count_method, &args.count_path) else {
        return Ok(None);
    };
    let operation = operation(pool, name, &args.count_request)?;
    let request = operation.request.read(0).map_err(usage)?;
    Ok(Some(Count::Method(Box::new(CountMethod {
        method: operation.method,
        request,
        path: path.clone(),
    }))))
}

fn operation(pool: &DescriptorPool, name: &str, request: &str) -> Result<Operation, Failure> {
    let method = method(pool, name)?;
    let request = template(&method, request)?;
    Ok(Operation { method, request })
}

fn template(method: &MethodDescriptor, request: &str) -> Result<Template, Failure> {
    let name = method.full_name();
    Template::new(method.input(), input::text(request)?)
        .map_err(|problem| usage(format!("the request of {name} is wrong: {problem}")))
}

fn method(pool: &DescriptorPool, name: &str) -> Result<MethodDescriptor, Failure> {
    let unknown = |what: String| {
        usage(what).next("make descriptors with `evenkeel proto compile FILE --out F.binpb` and give --descriptors F.binpb")
    };
    let (service, wanted) = name
        .split_once('/')
        .ok_or_else(|| usage(format!("{name:?} is not of the form PACKAGE.SERVICE/METHOD")))?;
    let service = pool
        .get_service_by_name(service)
        .ok_or_else(|| unknown(format!("there is no service {service} in the descriptors")))?;
    let method = service.methods().find(|method| method.name() == wanted);
    method.ok_or_else(|| unknown(format!("{} has no method {wanted}", service.full_name())))
}

/// The action's request as far as the compensation's type has its fields.
fn shared(pool: &DescriptorPool, compensation: &str, request: &str) -> Result<String, Failure> {
    let method = method(pool, compensation)?;
    let text = input::text(request)?;
    let mut json: Value = serde_json::from_str(&text).map_err(|error| {
        usage("the request is not JSON; give --compensation-request, too").because(&error)
    })?;
    if let Value::Object(fields) = &mut json {
        let message = method.input();
        fields.retain(|name, _| {
            message.get_field_by_name(name).is_some() || message.get_field_by_json_name(name).is_some()
        });
    }
    Ok(json.to_string())
}

/// Refuses to call what is not on this machine, unless somebody says that it does no harm.
///
/// # Errors
/// It is elsewhere, and nobody says so.
pub(crate) fn on_this_machine(url: &str, not_production: bool) -> Result<(), Failure> {
    let uri: http::Uri = url
        .parse()
        .map_err(|error| usage(format!("{url:?} is no URL")).because(&error))?;
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let here = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    if here || not_production {
        return Ok(());
    }
    Err(usage(format!(
        "{url} is not on this machine, and the calls of this command have effects"
    ))
    .next("if they do no harm there, say so with --not-production"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_called_unless_somebody_says_so() {
        for here in ["http://127.0.0.1:7191", "http://localhost:1", "http://[::1]:7191"] {
            on_this_machine(here, false).unwrap();
        }
        let failure = on_this_machine("http://shop.acme.com:7191", false).unwrap_err();
        assert!(failure.to_string().contains("--not-production"), "{failure}");
        on_this_machine("http://shop.acme.com:7191", true).unwrap();
        assert!(on_this_machine("http://127.0.0.1.acme.com", false).is_err());
    }

    #[test]
    fn a_compensation_takes_the_fields_it_knows_from_the_actions_request() {
        let pool = proto::descriptor_pool();
        let request = r#"{"userId": "u", "task_id": "{n}", "amount": 5}"#;
        let taken = shared(&pool, "evenkeel.quota.v1.QuotaSteps/Cancel", request).unwrap();
        let taken: Value = serde_json::from_str(&taken).unwrap();
        assert!(taken.get("amount").is_none(), "{taken}");
        assert_eq!(taken["task_id"], "{n}");
    }

    #[test]
    fn a_method_that_is_not_there_is_named() {
        let pool = proto::descriptor_pool();
        for (name, part) in [
            ("evenkeel.quota.v1.QuotaSteps/Reserv", "has no method Reserv"),
            ("acme.v1.Steps/Do", "no service acme.v1.Steps"),
            ("Reserve", "is not of the form"),
        ] {
            let failure = method(&pool, name).unwrap_err();
            assert!(failure.to_string().contains(part), "{failure}");
        }
    }

    #[test]
    fn the_report_says_what_was_seen_and_what_to_do() {
        let rows = [
            Row {
                check: "the action succeeds",
                verdict: Verdict::Pass,
                saw: "OK {\"left\":\"8\"}".to_owned(),
                next: "",
            },
            Row {
                check: "a repeated action gets the stored reply",
                verdict: Verdict::Fail,
                saw: "first OK {\"left\":\"8\"}, then OK {\"left\":\"6\"}".to_owned(),
                next: "keep the reply",
            },
        ];
        insta::assert_snapshot!(table(&rows).render(false), @r#"
        RESULT  CHECK                                    SAW
        PASS    the action succeeds                      OK {"left":"8"}
        FAIL    a repeated action gets the stored reply  first OK {"left":"8"}, then OK {"left":"6"}
                  what to do                             keep the reply
        "#);
    }
}
