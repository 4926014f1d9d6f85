//! `evenkeel saga test`.

mod orchestrator;
mod register;
mod report;
mod responder;
mod upstreams;
mod world;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use conformance::double::Doubles;
use conformance::matrix::{Limits, Property, Row, Stage};
use conformance::{Interposer, Verdict};
use prost_reflect::DescriptorPool;
use saga_definition::{Await, Call, Definition};
use token::{OPERATOR, ORCHESTRATOR};

use super::{Session, check};
use crate::cmd::input;
use crate::exit::{Code, Failure};
use crate::identity;
use crate::output;
use orchestrator::{Ground, Participant};
use register::register;
use responder::Responder;
use upstreams::{Given, Real, doubled, key_directory, real};
use world::{Cast, Own, PLACEHOLDER};

/// Runs a definition under faults: every call refused, repeated, lost, cancelled, and the orchestrator killed around it
///
/// Starts a private Postgres and an orchestrator, and puts doubles in the place of the participants: they answer every method
/// with a reply made from its type, and remember what was done and undone. With --live the real participants are called
/// instead, of this machine only unless --not-production says that their effects do no harm: every saga that is started is
/// real to them. Exits with 1 if a saga ended otherwise than it may.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel saga test services/task/sagas/TASK_RUN.yaml
  evenkeel saga test ORDER.yaml --participants evenkeel.toml --only refused --only reply-lost
  evenkeel saga test ORDER.yaml --descriptors shop.binpb -o json
  evenkeel saga test ORDER.yaml --participants evenkeel.toml --live --probe ./books-balance.sh --input \\
    '{\"order_id\": \"test-{n}\", \"customer\": \"ada\", \"item\": \"kettle\", \"quantity\": 1, \"price_minor\": 1}'")]
pub(super) struct Args {
    /// Definition, as YAML
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Encoded FileDescriptorSet with further packages, imports included
    #[arg(long, value_name = "FILE")]
    descriptors: Vec<PathBuf>,
    /// The orchestrator's settings, of which [saga.participants] is read
    #[arg(long, value_name = "FILE")]
    participants: Option<PathBuf>,
    /// Input of each saga as JSON, @FILE or @-; each {n} in it becomes a number that is new for each [default: made from
    /// the input's type]
    #[arg(long, value_name = "JSON", required_if_eq("live", "true"))]
    input: Option<String>,
    /// What is tried; all of it by default
    #[arg(long, value_enum, value_name = "FAULT")]
    only: Vec<Fault>,
    /// Calls the real participants of the settings instead of doubles
    #[arg(long)]
    live: bool,
    /// With --live: who answers for a package, in place of the settings
    #[arg(
        long = "participant",
        value_name = "PACKAGE=URL,ERROR_DOMAIN",
        requires = "live"
    )]
    given: Vec<Given>,
    /// With --live: shell command that fails if the participants are not as they should be when no saga runs. It is run after
    /// each saga, with EVENKEEL_SAGA_ID, EVENKEEL_BUSINESS_ID and EVENKEEL_PHASE
    #[arg(long, value_name = "COMMAND", requires = "live")]
    probe: Option<String>,
    /// With --live: participants may be called though they are not on this machine: what is done there does no harm
    #[arg(long, requires = "live")]
    not_production: bool,
    /// Bound of the whole test; what was not tried by then is SKIP
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration, value_name = "TIME")]
    timeout: Duration,
    /// Bound of each saga
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration, value_name = "TIME")]
    patience: Duration,
}

/// What can be tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Fault {
    /// Steps say no.
    Refused,
    /// Every call comes three times.
    Repeated,
    /// Replies are lost.
    ReplyLost,
    /// The orchestrator is killed before and after each call.
    Crash,
    /// Compensations say no.
    CompensationRefused,
    /// Somebody cancels while a call is under way.
    Cancelled,
}

impl Fault {
    const fn property(self) -> Property {
        match self {
            Self::Refused => Property::Refused,
            Self::Repeated => Property::Repeated,
            Self::ReplyLost => Property::ReplyLost,
            Self::Crash => Property::Crash,
            Self::CompensationRefused => Property::CompensationRefused,
            Self::Cancelled => Property::Cancelled,
        }
    }
}

pub(super) async fn run(session: Session, args: Args, keys: Option<&Path>) -> Result<Code, Failure> {
    let (pool, allowed) = check::known(&args.descriptors, args.participants.as_deref())?;
    let source = input::file_text(&args.file)?;
    let name = args.file.display().to_string();
    let definition = match saga_definition::compile(&source, &pool, &allowed) {
        Ok(definition) => definition,
        Err(problems) => {
            output::remark(&check::listing_of(&name, problems));
            return Err(Failure::new(
                Code::Failed,
                format!("{name} has mistakes, so it cannot be run"),
            ));
        }
    };
    let template = args.input.as_deref().map(input::text).transpose()?;
    sound(&definition, template.as_deref())?;
    if args.live && definition.calls().any(awaits_event) {
        return Err(Failure::new(
            Code::Usage,
            format!("{name} awaits events, which reach real participants over their own broker"),
        )
        .next("run it without --live"));
    }
    let live = if args.live {
        Some(real(&args, &definition, keys)?)
    } else {
        None
    };
    let own_keys = args.live.then(|| key_directory(keys)).flatten();
    let ground = Ground::open(own_keys).await?;
    let testing = test(&ground, &definition, &source, &pool, &args, template, live);
    let tested = tokio::select! {
        tested = testing => tested,
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Code::Failed, "interrupted")),
    };
    ground.close().await;
    let rows = tested?;
    report::print(session.format, session.colour, definition.name(), &rows)?;
    let failed = rows.iter().any(|row| row.verdict == Verdict::Fail);
    Ok(if failed { Code::Failed } else { Code::Ok })
}

/// Checks that inputs can be made, each with a business id of its own.
fn sound(definition: &Definition, template: Option<&str>) -> Result<(), Failure> {
    let usage = |text: String| Failure::new(Code::Usage, text);
    if template.is_some_and(|template| !template.contains(PLACEHOLDER)) {
        return Err(usage(format!(
            "the input holds no {PLACEHOLDER}, so that all sagas would be the same one"
        ))
        .next("write it where the business id is, such as {\"order_id\": \"test-{n}\"}"));
    }
    let inputs = [1, 2].map(|number| world::input(definition, template, number));
    let read = saga_definition::decode_json(definition.input(), &inputs[0], inputs[0].len());
    let message =
        read.map_err(|error| usage("the input does not fit the definition".to_owned()).because(&error))?;
    definition
        .deadline_ms(&message)
        .map_err(|error| usage("the input gives no deadline".to_owned()).because(&error))?;
    let ids = inputs.map(|input| world::business_id(definition, &input));
    if ids[0].is_some() && ids[0] == ids[1] {
        return Err(usage(format!(
            "every input has the same business id; it has to hold {PLACEHOLDER}"
        )));
    }
    Ok(())
}

/// Sets everything up, and tries one property after the other.
async fn test(
    ground: &Ground,
    definition: &Definition,
    source: &str,
    pool: &DescriptorPool,
    args: &Args,
    template: Option<String>,
    live: Option<Real>,
) -> Result<Vec<Row>, Failure> {
    let until = Instant::now() + args.timeout;
    let failed = |e: &dyn std::error::Error| Failure::unavailable("cannot listen").because(e);
    let mut played = None;
    let real = match live {
        Some(real) => real,
        None => {
            let doubles = Arc::new(Doubles::start(definition).await.map_err(|e| failed(&e))?);
            let real = doubled(definition, doubles.url())?;
            played = Some(doubles);
            real
        }
    };
    let told = real
        .iter()
        .map(|(prefix, (_, told))| (prefix.clone(), told.clone()));
    let told: BTreeMap<String, Participant> = told.collect();
    let upstreams = real.into_iter().map(|(prefix, (upstream, _))| (prefix, upstream));
    let interposer = Interposer::start(upstreams.collect())
        .await
        .map_err(|e| failed(&e))?;
    ground.configure(interposer.url(), &told, &pool.encode_to_vec())?;
    let process = ground.start(0).await?;
    let url = process.url().to_owned();
    let channel = identity::open(&ground.keys(), OPERATOR)?
        .connect(&url, identity::name(ORCHESTRATOR)?)
        .map_err(|e| failed(&e))?;
    register(channel.clone(), definition, source).await?;
    let cast = match played {
        None => Cast::Live {
            probe: args.probe.clone(),
        },
        Some(doubles) => {
            doubles.complete_at(rpc::channel::lazy(&url).map_err(|e| failed(&e))?.into());
            let responder = Responder::start(&ground.database(), definition, Arc::clone(&doubles)).await?;
            Cast::Doubles(doubles, responder)
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let own = Own {
        ground,
        definition,
        cast,
        input: template,
        number: if args.live {
            u64::try_from(now.as_millis()).unwrap_or(0)
        } else {
            1
        },
        channel,
        port: url
            .rsplit(':')
            .next()
            .and_then(|port| port.parse().ok())
            .unwrap_or(0),
        process: Some(process),
        database: sqlx::PgPool::connect_lazy(&ground.database()).map_err(|e| failed(&e))?,
    };
    let limits = Limits {
        patience: args.patience,
        until,
    };
    let mut stage =
        Stage::open(own, interposer, limits).await.map_err(|saw| {
            Failure::new(Code::Failed, format!("without any fault the saga does not complete: {saw}")).next(
            "give an --input with which it completes; `evenkeel saga check` shows mistakes of the definition",
        )
        })?;
    Ok(try_all(&mut stage, definition, args).await)
}

async fn try_all(stage: &mut Stage<Own<'_>>, definition: &Definition, args: &Args) -> Vec<Row> {
    let mut tell = |row: &Row| output::remark(&report::line(row));
    let wanted = |fault: Fault| args.only.is_empty() || args.only.contains(&fault);
    let all = [
        Fault::Refused,
        Fault::Repeated,
        Fault::ReplyLost,
        Fault::Crash,
        Fault::CompensationRefused,
        Fault::Cancelled,
    ];
    let mut rows = Vec::new();
    for fault in all.into_iter().filter(|fault| wanted(*fault)) {
        rows.extend(stage.run(fault.property(), &mut tell).await);
    }
    if wanted(Fault::Refused) {
        let published = definition.steps().iter().filter(|step| can_fail(&step.call));
        let names: Vec<&str> = published.map(|step| step.name.as_str()).collect();
        for name in names {
            if let Cast::Doubles(_, Some(responder)) = &stage.world().cast {
                responder.refuse(Some(name));
                rows.push(stage.refused_by_world(name, &mut tell).await);
            }
            if let Cast::Doubles(_, Some(responder)) = &stage.world().cast {
                responder.refuse(None);
            }
        }
    }
    rows
}

fn awaits_event(call: &Call) -> bool {
    matches!(call.awaits(), Some(Await::Reply { .. }))
}

/// Whether a published request can be answered "no".
fn can_fail(call: &Call) -> bool {
    matches!(call.awaits(), Some(Await::Reply { failed: Some(_), .. }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_of_what_ships_can_be_made_and_differ() {
        let (pool, allowed) = check::known(&[], None).unwrap();
        for (file, source) in crate::wiring::services::SHIPPED.into_iter().flatten() {
            let definition = saga_definition::compile(source, &pool, &allowed).unwrap();
            sound(&definition, None).unwrap_or_else(|failure| panic!("{file}: {failure}"));
        }
    }

    #[test]
    fn an_input_without_a_placeholder_is_refused() {
        let (pool, allowed) = check::known(&[], None).unwrap();
        let (_, source) = crate::wiring::services::SHIPPED[0][0];
        let definition = saga_definition::compile(source, &pool, &allowed).unwrap();
        for (template, part) in [
            ("{\"task_id\": \"t\"}", "holds no {n}"),
            ("{\"task\": \"{n}\"}", "does not fit"),
            (
                "{\"user_id\": \"{n}\", \"deadline\": \"60s\", \"task_id\": \"t\"}",
                "the same business id",
            ),
        ] {
            let failure = sound(&definition, Some(template)).unwrap_err();
            assert!(failure.to_string().contains(part), "{template}: {failure}");
        }
    }
}
