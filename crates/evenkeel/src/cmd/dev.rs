//! `evenkeel dev`.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use doubles::ai::{self, AiProvider};
use doubles::sms::SmsProvider;
use process::{Shutdown, Supervisor};
use uuid::Uuid;

use crate::certificates::{self, Order};
use crate::demo::{self, Outcome};
use crate::exit::{Code, Failure};
use crate::identity::{self, Identity};
use crate::output::{self, Cell, Table, Tone};
use crate::wiring::accounts;
use crate::wiring::admin::Watch;
use crate::wiring::database::{self, Database};
use crate::wiring::devices;
use crate::wiring::events;
use crate::wiring::payers::{self, Payers};
use crate::wiring::ready;
use crate::wiring::sealing;
use crate::wiring::services::{self, Bound};
use crate::wiring::settings::{
    self, DEFAULT_PORT_BASE, DEV_DATABASE_URL, Listen, Name, Settings, local, port,
};

/// Distance of the AI provider's port from the first port: 7590, where the task service expects it by default.
const PROVIDER_PORT_OFFSET: u16 = 490;
/// Life of the certificates of `--tls`; `dev` may run for a while, and makes new ones when it starts again.
const CERTIFICATE_DAYS: u16 = 365;

/// Runs everything here: all services in one process on a private Postgres, until Ctrl-C
///
/// Nothing needs to be installed but Postgres server binaries, and nothing that runs already is touched. With
/// DATABASE_URL set, that database is used instead. Definitions that ship with Evenkeel are registered and activated.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel dev
  evenkeel dev --demo --exit                 six stories on a fresh database; exits with 1 if a promise is broken
  evenkeel dev --demo                        the same, then stays up to look around
  evenkeel dev --tls                         with certificates, as in production
  evenkeel dev --data-dir /srv/ek --port-base 9000")]
pub(crate) struct Args {
    /// Where the private Postgres keeps its data; with --demo a new directory that is removed at the end
    /// [default: .evenkeel, or /var/lib/evenkeel where root cannot share that]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// First port: Postgres, then saga +1, quota +2, task +3, auth +4, billing +5, gateway +80, machines that watch +21; 0 takes free ones [default: 7100, with --exit 0]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(..=60_000))]
    port_base: Option<u16>,
    /// Settings as TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Speaks mutual TLS, with certificates that are made anew at each start in the data directory
    #[arg(long, conflicts_with = "demo")]
    tls: bool,
    /// Allocates no devices: a service of yours, or `evenkeel doubles devices`, does
    #[arg(long)]
    no_devices: bool,
    /// Plays six stories through the real API, with the orchestrator as a process of its own that is killed in one
    #[arg(long)]
    demo: bool,
    /// Ends after the stories
    #[arg(long, requires = "demo")]
    exit: bool,
}

/// Runs `evenkeel dev`.
pub(crate) async fn run(args: Args, keys: Option<PathBuf>) -> Result<Code, Failure> {
    let mut settings = settings::load(args.config.as_deref())?;
    settings.telemetry.service = "dev".to_owned();
    if args.demo {
        // The story is what people should read; the services' lines would cut through it.
        settings.telemetry.level = "error".to_owned();
    }
    let telemetry = telemetry::init(&settings.telemetry)
        .map_err(|error| Failure::config("the telemetry settings are wrong").because(&error))?;
    let shutdown = Shutdown::on_signals(settings.drain)
        .map_err(|error| Failure::unavailable("cannot wait for signals").because(&error))?;
    let base = args
        .port_base
        .unwrap_or(if args.exit { 0 } else { DEFAULT_PORT_BASE });
    let scratch = match (&args.data_dir, args.demo) {
        (None, true) => Some(Scratch::new()?),
        (Some(_) | None, _) => None,
    };
    let data_dir = match (&scratch, &args.data_dir) {
        (Some(scratch), _) => scratch.path.clone(),
        (None, Some(dir)) => dir.clone(),
        (None, None) => PathBuf::from(".evenkeel"),
    };
    settings.identity.keys = identity::absolute(&keys.unwrap_or_else(|| data_dir.join("keys")));
    identity::ensure(&settings.identity.keys)?;
    sealing::ensure(&settings).await?;
    let postgres_port = Some(base).filter(|base| *base != 0);
    let database = Database::open(&settings.database.url, &data_dir, postgres_port).await?;
    let running = run_on(&database, &args, settings, base, &data_dir, shutdown);
    let code = Box::pin(running).await;
    database.close().await;
    telemetry.shutdown().await;
    code
}

async fn run_on(
    database: &Database,
    args: &Args,
    mut settings: Settings,
    base: u16,
    data_dir: &Path,
    shutdown: Shutdown,
) -> Result<Code, Failure> {
    settings.database.url.clone_from(&database.url);
    if args.demo {
        // Who looks on does not want to wait as long as a provider.
        settings.billing.ask_after = [200, 400, 800].map(Duration::from_millis).to_vec();
    }
    settings.share_one_process();
    if args.port_base.is_some() || base == 0 {
        settings.listen = Listen::from_base(base);
    }
    database::migrate(&database.url, &Name::ALL).await?;
    let provider = start_provider(base).await?;
    use_provider(&mut settings, &provider);
    let mut watch = Watch::bind(settings.admin_address(settings.listen.public(Name::Saga)))?;
    let supervisor = Supervisor::new(shutdown);
    let broker = events::open(&settings, &supervisor).await?;
    let (allocator, devices) = if args.no_devices {
        (None, None)
    } else {
        let (allocator, url) = devices::start(&settings, &broker, base).await?;
        (Some(allocator), Some(url))
    };
    let providers = accounts::complete(&mut settings, base).await?;
    let certificates = args.tls.then(|| identity::absolute(&data_dir.join("tls")));
    secure(&mut settings, certificates.as_deref())?;
    let accounts = bind(Name::Auth, &settings, certificates.as_deref())?;
    let auth = accounts.url();
    settings.peers.auth.clone_from(&auth);
    let participants = [
        bind(Name::Quota, &settings, certificates.as_deref())?,
        bind(Name::Task, &settings, certificates.as_deref())?,
        bind(Name::Billing, &settings, certificates.as_deref())?,
    ];
    let steps: Vec<_> = participants
        .iter()
        .filter_map(|bound| Some((bound.name(), bound.steps()?)))
        .collect();
    // The same after a restart, whatever the port, so that sagas go on at once instead of after a lease.
    settings.saga.instance.get_or_insert_with(|| "dev".to_owned());
    settings::add_own_participants(&mut settings, &steps);
    let [quota, task, billing] = participants.each_ref().map(Bound::url);
    let gateway = bind(Name::Gateway, &settings, certificates.as_deref())?;
    let http = gateway.url();
    // Doubles do not ask who the gateway is: it speaks plain HTTP to everybody outside.
    let payers = payers::complete(&mut settings, base, data_dir, &http).await?;
    let orchestrator = if args.demo {
        Orchestrator::Child(Box::new(demo::Child::start(&settings, &steps, data_dir)?))
    } else {
        Orchestrator::Here(bind(Name::Saga, &settings, certificates.as_deref())?)
    };
    let saga = match &orchestrator {
        Orchestrator::Child(child) => child.url(),
        Orchestrator::Here(bound) => bound.url(),
    };
    settings.peers.saga.clone_from(&saga);
    settings.peers.quota.clone_from(&quota);
    settings.peers.task.clone_from(&task);
    settings.peers.billing.clone_from(&billing);
    for bound in [accounts].into_iter().chain(participants).chain([gateway]) {
        let (name, address, own) = (bound.name(), bound.public(), bound.credentials());
        let readiness = services::start(bound, &settings, &broker, &supervisor).await?;
        watch = watch.add(name, address, own, readiness)?;
    }
    let child = match orchestrator {
        Orchestrator::Child(child) => Some(child),
        Orchestrator::Here(bound) => {
            let (address, own) = (bound.public(), bound.credentials());
            let readiness = services::start(bound, &settings, &broker, &supervisor).await?;
            watch = watch.add(Name::Saga, address, own, readiness)?;
            None
        }
    };
    let watched = watch.start()?;
    let places = Places {
        gateway: http,
        auth,
        saga,
        quota,
        task,
        billing,
        provider: provider.url(),
        payers: payer_urls(&payers),
        devices,
        sms: providers.sms.as_ref().map(SmsProvider::url),
        admin: format!("http://{}", watched.local_addr()),
        database: database.url.clone(),
        keys: settings.identity.keys.clone(),
        certificates,
    };
    let ended = async {
        ready::wait(&places.operator()?, &places.saga).await?;
        match child {
            Some(child) => demo::play(&places, &provider, *child, args.exit).await,
            None => Ok(Outcome {
                kept: true,
                child: None,
            }),
        }
    };
    let stop = supervisor.shutdown().token();
    let outcome = match stop.run_until_cancelled(ended).await {
        Some(Ok(outcome)) => outcome,
        Some(Err(failure)) => {
            supervisor.shutdown().trigger();
            return Err(failure);
        }
        None => Outcome {
            kept: false,
            child: None,
        },
    };
    if args.exit {
        supervisor.shutdown().trigger();
    } else if !stop.is_cancelled() {
        output::emit(&places.welcome(output::colour()))?;
    }
    supervisor.wait().await.map_err(services::ended)?;
    if let Some(allocator) = allocator {
        devices::stop(allocator, &settings).await;
    }
    if let Some(child) = outcome.child {
        child.stop().await;
    }
    Ok(if outcome.kept { Code::Ok } else { Code::Failed })
}

/// Where the orchestrator runs.
enum Orchestrator {
    Here(Bound),
    Child(Box<demo::Child>),
}

/// Makes the certificates, if there are to be any. Those of the environment are for commands: here are several services.
fn secure(settings: &mut Settings, dir: Option<&Path>) -> Result<(), Failure> {
    settings.tls = tls::Config::default();
    if let Some(dir) = dir {
        let order = Order {
            hosts: &[],
            days: CERTIFICATE_DAYS,
            renew: true,
        };
        certificates::issue(dir, &identity::EVERYBODY.map(str::to_owned), &order)?;
        settings.tls = certificates::config(dir, Name::Saga.text());
    }
    Ok(())
}

/// Binds a service, with a certificate of its own.
fn bind(name: Name, settings: &Settings, certificates: Option<&Path>) -> Result<Bound, Failure> {
    match certificates {
        None => Bound::bind(name, settings),
        Some(dir) => Bound::bind(
            name,
            &Settings {
                tls: certificates::config(dir, name.text()),
                ..settings.clone()
            },
        ),
    }
}

async fn start_provider(base: u16) -> Result<AiProvider, Failure> {
    let address = local(port(base, PROVIDER_PORT_OFFSET));
    ai::start(address).await.map_err(|error| {
        Failure::unavailable(format!("the AI provider double cannot listen on {address}"))
            .because(&error)
            .next("choose other ports with --port-base (0 takes free ones)")
    })
}

/// Points the built-in provider at the double, unless another address is configured.
fn use_provider(settings: &mut Settings, provider: &AiProvider) {
    let configured = settings.task.providers.get(task::config::DEMO_PROVIDER);
    if configured == task::Config::default().providers.get(task::config::DEMO_PROVIDER) {
        let here = task::Config::with_demo_provider(provider.url());
        settings.task.providers.extend(here.providers);
    }
}

/// Where everything is.
#[derive(Debug)]
pub(crate) struct Places {
    pub(crate) gateway: String,
    pub(crate) auth: String,
    pub(crate) saga: String,
    pub(crate) quota: String,
    pub(crate) task: String,
    pub(crate) billing: String,
    pub(crate) provider: String,
    /// The doubles of payment providers that run here, by name.
    pub(crate) payers: Vec<(&'static str, String)>,
    /// The allocator of devices, a double, if it runs here.
    pub(crate) devices: Option<String>,
    /// The SMS double, if it runs here.
    pub(crate) sms: Option<String>,
    pub(crate) admin: String,
    pub(crate) database: String,
    /// Directory of the keys, absolute.
    pub(crate) keys: PathBuf,
    /// Directory of the certificates, absolute, if there are any.
    pub(crate) certificates: Option<PathBuf>,
}

impl Places {
    /// Who calls these services from here.
    ///
    /// # Errors
    /// There is no key, or no certificate where there should be one.
    pub(crate) fn operator(&self) -> Result<Identity, Failure> {
        let tls = self
            .certificates
            .as_deref()
            .map_or_else(tls::Config::default, |dir| {
                certificates::config(dir, token::OPERATOR)
            });
        Identity::operator_with(Some(&self.keys), &tls)
    }

    fn welcome(&self, colour: bool) -> String {
        let mut table = Table::plain().indent(2);
        let rows = [
            ("gateway", &self.gateway, "GET /docs, /openapi.json"),
            ("saga", &self.saga, "evenkeel saga list"),
            ("quota", &self.quota, "evenkeel quota grant new 10"),
            ("task", &self.task, "evenkeel task features"),
            ("auth", &self.auth, "grpcurl and the like: evenkeel.auth.v1"),
            ("billing", &self.billing, "evenkeel.billing.v1"),
            ("AI provider", &self.provider, "a double; see GET /_books"),
            ("admin", &self.admin, "GET /metrics, /readyz, /status"),
            ("database", &self.database, "select * from saga_instances"),
        ];
        let sms = self
            .sms
            .iter()
            .map(|url| ("SMS", url, "a double; see GET /_books"));
        let devices = self.devices.iter();
        let devices = devices.map(|url| ("devices", url, "a double; see GET /_books"));
        let payers = self
            .payers
            .iter()
            .map(|(name, url)| (*name, url, "a double; open it to pay"));
        for (name, place, example) in rows.into_iter().chain(devices).chain(sms).chain(payers) {
            table.row(vec![
                name.into(),
                Cell::new(place, Tone::Bold),
                Cell::new(example, Tone::Dim),
            ]);
        }
        let mut text = format!("Evenkeel runs until Ctrl-C.\n\n{}", table.render(colour));
        let mut variables = Vec::new();
        if self.saga != default_url(Name::Saga) {
            variables.extend([
                ("EVENKEEL_SAGA_URL", self.saga.clone()),
                ("EVENKEEL_QUOTA_URL", self.quota.clone()),
                ("EVENKEEL_TASK_URL", self.task.clone()),
                ("EVENKEEL_AUTH_URL", self.auth.clone()),
                ("EVENKEEL_BILLING_URL", self.billing.clone()),
                ("EVENKEEL_GATEWAY_URL", self.gateway.clone()),
            ]);
        }
        if self.keys != identity::absolute(Path::new(identity::DEFAULT_DIR)) {
            variables.push((identity::VARIABLE, self.keys.display().to_string()));
        }
        if let Some(dir) = &self.certificates {
            let files = certificates::variables(dir, token::OPERATOR);
            variables.extend(files.map(|(name, file)| (name, file.display().to_string())));
        }
        if !variables.is_empty() {
            text.push_str("\nThe commands find all this with:\n");
        }
        for (name, value) in variables {
            text.push_str(&format!("  export {name}={value}\n"));
        }
        let option = match self.database.as_str() {
            DEV_DATABASE_URL => String::new(),
            url => format!(" --database-url '{url}'"),
        };
        text.push_str(&format!(
            "\nWhat is wrong, if anything: evenkeel doctor{option}\n"
        ));
        text
    }
}

fn payer_urls(payers: &Payers) -> Vec<(&'static str, String)> {
    let wechat = payers.wechat.as_ref().map(|double| ("WeChat Pay", double.url()));
    let alipay = payers.alipay.as_ref().map(|double| ("Alipay", double.base_url()));
    wechat.into_iter().chain(alipay).collect()
}

fn default_url(name: Name) -> String {
    format!("http://{}", local(port(DEFAULT_PORT_BASE, name.port_offset())))
}

/// A directory that is removed when this is dropped.
#[derive(Debug)]
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("evenkeel-demo-{}", Uuid::now_v7().simple()));
        // Readable by all: as root, Postgres runs as another user and must reach its data through this directory.
        std::fs::DirBuilder::new()
            .mode(0o755)
            .create(&path)
            .map_err(|error| {
                Failure::unavailable(format!("cannot create {}", path.display())).because(&error)
            })?;
        Ok(Self { path })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind is a directory under /tmp.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(saga: &str) -> Places {
        Places {
            saga: saga.to_owned(),
            quota: "http://127.0.0.1:7102".to_owned(),
            task: "http://127.0.0.1:7103".to_owned(),
            provider: "http://127.0.0.1:7590".to_owned(),
            admin: "http://127.0.0.1:7121".to_owned(),
            database: DEV_DATABASE_URL.to_owned(),
            keys: identity::absolute(Path::new(identity::DEFAULT_DIR)),
            certificates: None,
            auth: "http://127.0.0.1:7104".to_owned(),
            gateway: "http://127.0.0.1:7180".to_owned(),
            sms: None,
            billing: "http://127.0.0.1:7105".to_owned(),
            payers: Vec::new(),
            devices: Some("http://127.0.0.1:7595".to_owned()),
        }
    }

    #[test]
    fn the_welcome_says_where_everything_is() {
        insta::assert_snapshot!(places("http://127.0.0.1:7101").welcome(false), @r"
        Evenkeel runs until Ctrl-C.

          gateway      http://127.0.0.1:7180                                        GET /docs, /openapi.json
          saga         http://127.0.0.1:7101                                        evenkeel saga list
          quota        http://127.0.0.1:7102                                        evenkeel quota grant new 10
          task         http://127.0.0.1:7103                                        evenkeel task features
          auth         http://127.0.0.1:7104                                        grpcurl and the like: evenkeel.auth.v1
          billing      http://127.0.0.1:7105                                        evenkeel.billing.v1
          AI provider  http://127.0.0.1:7590                                        a double; see GET /_books
          admin        http://127.0.0.1:7121                                        GET /metrics, /readyz, /status
          database     postgres://evenkeel@127.0.0.1:7100/evenkeel?sslmode=disable  select * from saga_instances
          devices      http://127.0.0.1:7595                                        a double; see GET /_books

        What is wrong, if anything: evenkeel doctor
        ");
    }

    #[test]
    fn other_ports_and_keys_come_with_the_variables_that_name_them() {
        let text = places("http://127.0.0.1:9001").welcome(false);
        assert!(
            text.contains("export EVENKEEL_SAGA_URL=http://127.0.0.1:9001"),
            "{text}"
        );
        assert!(!places("http://127.0.0.1:7101").welcome(false).contains("export"));
        let mut elsewhere = places("http://127.0.0.1:7101");
        elsewhere.keys = "/srv/keys".into();
        let text = elsewhere.welcome(false);
        assert!(text.contains("export EVENKEEL_KEYS=/srv/keys"), "{text}");
        let mut secured = places("https://127.0.0.1:7101");
        secured.certificates = Some("/srv/tls".into());
        let text = secured.welcome(false);
        assert!(
            text.contains("export EVENKEEL_TLS__CERTIFICATE=/srv/tls/operator.cert.pem"),
            "{text}"
        );
    }
}
