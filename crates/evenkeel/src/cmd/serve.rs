//! `evenkeel serve`.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use process::{Shutdown, Supervisor};

use crate::exit::{Code, Failure};
use crate::output;
use crate::wiring::admin::Watch;
use crate::wiring::services::{self, Bound};
use crate::wiring::settings::{self, Name, Settings};
use crate::wiring::{database, events};

/// Runs services as they run in production: a process of its own for each, or several in one
///
/// Settings come from --config (TOML), then the environment (DATABASE_URL, EVENKEEL_<SECTION>__<KEY>), then flags.
/// SIGTERM drains: no new work, work in progress ends. Exits with 70 if another process has taken the instance over.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel serve quota --listen 0.0.0.0:7102 --steps-listen 0.0.0.0:7112
  evenkeel serve saga --config evenkeel.toml --instance saga-0
  evenkeel serve saga --participant evenkeel.quota.v1=http://quota:7112 --participant evenkeel.task.v1=http://task:7113
  evenkeel serve quota task --listen quota=0.0.0.0:7102 --listen task=0.0.0.0:7103")]
pub(crate) struct Args {
    /// Services to run
    #[arg(value_enum, value_name = "SERVICE", required = true)]
    services: Vec<Name>,
    /// Settings as TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the public side; with its service if several are run
    #[arg(long, value_name = "[SERVICE=]ADDR")]
    listen: Vec<Place>,
    /// Address on which steps are answered; with its service if several are run
    #[arg(long, value_name = "[SERVICE=]ADDR")]
    steps_listen: Vec<Place>,
    /// Address for machines that watch: GET /metrics, /livez, /readyz, and with saga /status [default: the first
    /// service's, its port + 20]
    #[arg(long, value_name = "ADDR")]
    admin_listen: Option<SocketAddr>,
    /// Name under which the orchestrator owns sagas; unique, and the same after a restart [default: <hostname>:<port>]
    #[arg(long, value_name = "NAME")]
    instance: Option<String>,
    /// Who answers the steps of a proto package; replaces the one configured for it
    #[arg(long = "participant", value_name = "PACKAGE=URL[,ERROR_DOMAIN]")]
    participants: Vec<Participant>,
    /// Brings the schemas up to date first
    #[arg(long)]
    migrate: bool,
    /// Ends when standard input does, so that a child does not outlive the process that started it
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

/// An address, perhaps with the service it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    service: Option<Name>,
    address: SocketAddr,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (service, address) = match text.split_once('=') {
            Some((service, address)) => (Some(Name::from_str(service, false)?), address),
            None => (None, text),
        };
        let address = address
            .parse()
            .map_err(|_| format!("{address:?} is not of the form 127.0.0.1:7101"))?;
        Ok(Self { service, address })
    }
}

/// A participant given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Participant {
    package: String,
    url: String,
    error_domain: String,
}

impl FromStr for Participant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (package, rest) = text.split_once('=').ok_or("expected PACKAGE=URL")?;
        let (url, domain) = match rest.split_once(',') {
            Some((url, domain)) => (url, domain.to_owned()),
            None => (
                rest,
                own_domain(package)
                    .ok_or("expected PACKAGE=URL,ERROR_DOMAIN for a package that is not ours")?,
            ),
        };
        if package.is_empty() || url.is_empty() || domain.is_empty() {
            return Err("expected PACKAGE=URL[,ERROR_DOMAIN], none of them empty".to_owned());
        }
        Ok(Self {
            package: package.to_owned(),
            url: url.to_owned(),
            error_domain: domain,
        })
    }
}

/// Error domain of one of our own packages: `evenkeel.quota.v1` has `quota.evenkeel`.
fn own_domain(package: &str) -> Option<String> {
    let name = package.strip_prefix("evenkeel.")?.split('.').next()?;
    Some(format!("{name}.evenkeel"))
}

/// Runs `evenkeel serve`.
pub(crate) async fn run(args: Args, keys: Option<PathBuf>) -> Result<Code, Failure> {
    let mut settings = settings::load(args.config.as_deref())?;
    if let Some(keys) = keys {
        settings.identity.keys = keys;
    }
    let names: BTreeSet<Name> = args.services.iter().copied().collect();
    apply(&args, &names, &mut settings)?;
    settings.telemetry.service = names.iter().map(|name| name.text()).collect::<Vec<_>>().join("+");
    let telemetry = telemetry::init(&settings.telemetry)
        .map_err(|error| Failure::config("the telemetry settings are wrong").because(&error))?;
    if settings.database.url.is_empty() {
        return Err(Failure::config("no database is configured")
            .next("set DATABASE_URL, or run `evenkeel dev`, which brings its own"));
    }
    let mut watch = Watch::bind(settings.admin_address(first_address(&names, &settings)))?;
    let bound = names
        .iter()
        .map(|name| Bound::bind(*name, &settings))
        .collect::<Result<Vec<_>, _>>()?;
    let shutdown = Shutdown::on_signals(settings.drain)
        .map_err(|error| Failure::unavailable("cannot wait for signals").because(&error))?;
    if args.until_stdin_closes {
        end_with_stdin(shutdown.clone());
    }
    if args.migrate {
        database::migrate(&settings.database.url, &names.into_iter().collect::<Vec<_>>()).await?;
    }
    let supervisor = Supervisor::new(shutdown);
    let broker = events::open(&settings, &supervisor).await?;
    for bound in bound {
        output::remark(&format!("{} on {}", bound.name().text(), bound.public()));
        let (name, address, own) = (bound.name(), bound.public(), bound.credentials());
        let readiness = services::start(bound, &settings, &broker, &supervisor).await?;
        watch = watch.add(name, address, own, readiness)?;
    }
    output::remark(&format!("admin on {}", watch.address()));
    let watched = watch.start()?;
    let ended = supervisor.wait().await;
    drop(watched);
    telemetry.shutdown().await;
    ended.map_err(services::ended)?;
    Ok(Code::Ok)
}

/// Address of the first service, beside which the one for machines lies.
fn first_address(names: &BTreeSet<Name>, settings: &Settings) -> SocketAddr {
    let first = names.first().copied().unwrap_or(Name::Saga);
    settings.listen.public(first)
}

fn apply(args: &Args, names: &BTreeSet<Name>, settings: &mut Settings) -> Result<(), Failure> {
    let usage = |text: String| Failure::new(Code::Usage, text);
    let target = |place: &Place| match place.service {
        Some(name) if names.contains(&name) => Ok(name),
        Some(name) => Err(usage(format!(
            "{} has an address but is not run here",
            name.text()
        ))),
        None if names.len() == 1 => names
            .first()
            .copied()
            .ok_or_else(|| usage("no service".to_owned())),
        None => Err(usage(format!(
            "say which service listens on {0}: quota={0}",
            place.address
        ))),
    };
    for place in &args.listen {
        settings.listen.set_public(target(place)?, place.address);
    }
    for place in &args.steps_listen {
        let name = target(place)?;
        if !settings.listen.set_steps(name, place.address) {
            return Err(usage(format!("{} answers no steps", name.text())));
        }
    }
    if args.admin_listen.is_some() {
        settings.admin.listen = args.admin_listen;
    }
    if let Some(instance) = &args.instance {
        settings.saga.instance = Some(instance.clone());
    }
    for participant in &args.participants {
        let config = saga::participants::Config {
            url: participant.url.clone(),
            error_domain: participant.error_domain.clone(),
            descriptors: None,
            audience: None,
            limit: None,
        };
        settings
            .saga
            .participants
            .insert(participant.package.clone(), config);
    }
    let steps = [Name::Quota, Name::Task, Name::Billing].map(|name| (name, settings.listen.steps(name)));
    let steps: Vec<_> = steps
        .into_iter()
        .filter_map(|(name, at)| Some((name, at?)))
        .collect();
    settings::add_own_participants(settings, &steps);
    Ok(())
}

/// Gives the order to end when standard input is closed. A thread of its own: such a read cannot be cancelled.
fn end_with_stdin(shutdown: Shutdown) {
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        // The end of the stream and an error mean the same: nobody holds the other side any more.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _inside = runtime.enter();
        shutdown.trigger();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_name_its_service() {
        let place: Place = "quota=127.0.0.1:1".parse().unwrap();
        assert_eq!(place.service, Some(Name::Quota));
        assert_eq!("127.0.0.1:1".parse::<Place>().unwrap().service, None);
        assert!("qota=127.0.0.1:1".parse::<Place>().is_err());
        assert!("7101".parse::<Place>().is_err());
    }

    #[test]
    fn our_own_packages_need_no_error_domain() {
        let ours: Participant = "evenkeel.quota.v1=http://q:1".parse().unwrap();
        assert_eq!(ours.error_domain, "quota.evenkeel");
        let foreign: Participant = "acme.pay.v1=http://p:1,pay.acme.com".parse().unwrap();
        assert_eq!(
            (foreign.url.as_str(), foreign.error_domain.as_str()),
            ("http://p:1", "pay.acme.com")
        );
        assert!("acme.pay.v1=http://p:1".parse::<Participant>().is_err());
        assert!("http://p:1".parse::<Participant>().is_err());
    }
}
