//! Settings of a server process: defaults, then `--config FILE` (TOML), then the environment, then flags.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use process::PoolConfig;
use process::config;
use process::grpc::Limits;
use serde::Deserialize;

use super::addresses::ADMIN_PORT_OFFSET;
pub(crate) use super::addresses::{Admin, DEFAULT_PORT_BASE, Listen, Peers, local, port};
use super::events::CONNECTIONS;
pub(crate) use super::name::Name;
use super::providers;
use crate::exit::Failure;
use crate::identity;

/// Where `evenkeel dev` has its database unless something else is said.
pub(crate) const DEV_DATABASE_URL: &str = "postgres://evenkeel@127.0.0.1:7100/evenkeel?sslmode=disable";

/// Environment names people know, and the key each sets.
const WELL_KNOWN: [(&str, &str); 34] = [
    ("AMQP_URL", "events.amqp_url"),
    ("DATABASE_URL", "database.url"),
    ("REDIS_URL", "kv.redis_url"),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "telemetry.otlp_endpoint"),
    (identity::VARIABLE, "identity.keys"),
    ("KMS_REGION", "kms.tencent.region"),
    ("KMS_SECRET_ID", "kms.tencent.secret_id"),
    ("KMS_SECRET_KEY", "kms.tencent.secret_key"),
    ("KMS_KEY_ID", "kms.tencent.key_id"),
    ("WECHAT_APPID", "auth.wechat.app_id"),
    ("WECHAT_SECRET", "auth.wechat.secret"),
    ("WECHAT_PAY_APPID", "providers.wechat.app_id"),
    ("WECHAT_PAY_MCHID", "providers.wechat.merchant_id"),
    ("WECHAT_PAY_SERIAL_NO", "providers.wechat.serial"),
    ("WECHAT_PAY_PRIVATE_KEY_PATH", "providers.wechat.private_key_path"),
    ("WECHAT_PAY_API_V3_KEY", "providers.wechat.api_v3_key"),
    ("WECHAT_PAY_API_V3_KEY_PATH", "providers.wechat.api_v3_key_path"),
    ("WECHAT_PAY_PUBLIC_KEY_ID", "providers.wechat.public_key_id"),
    ("WECHAT_PAY_PUBLIC_KEY_PATH", "providers.wechat.public_key_path"),
    ("ALIPAY_APPID", "providers.alipay.app_id"),
    ("WECHAT_PAY_URL", "providers.wechat.url"),
    ("ALIPAY_MERCHANT_ID", "providers.alipay.merchant_id"),
    ("ALIPAY_APP_CERT_PATH", "providers.alipay.app_certificate_path"),
    ("ALIPAY_CERT_PATH", "providers.alipay.alipay_certificate_path"),
    ("ALIPAY_ROOT_CERT_PATH", "providers.alipay.roots_path"),
    ("ALIPAY_URL", "providers.alipay.url"),
    ("ALIPAY_PRIVATE_KEY_PATH", "providers.alipay.private_key_path"),
    ("ALIPAY_PUBLIC_KEY_PATH", "providers.alipay.public_key_path"),
    ("EVENKEEL_BILLING_URL", "peers.billing"),
    ("EVENKEEL_NOTIFY_URL", "billing.notify_url"),
    ("EVENKEEL_AUTH_URL", "peers.auth"),
    ("EVENKEEL_QUOTA_URL", "peers.quota"),
    ("EVENKEEL_SAGA_URL", "peers.saga"),
    ("EVENKEEL_TASK_URL", "peers.task"),
];

/// Everything a server process can be told.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Settings {
    /// Database and connection budget of each service; its public side and its steps get half of `max` each.
    pub(crate) database: PoolConfig,
    /// Logs and traces.
    pub(crate) telemetry: telemetry::Config,
    /// Addresses to listen on.
    pub(crate) listen: Listen,
    /// The HTTP listener for machines that watch this process.
    pub(crate) admin: Admin,
    /// Limits of the listeners.
    pub(crate) limits: ListenerLimits,
    /// Where other services are.
    pub(crate) peers: Peers,
    /// By which keys services know each other.
    pub(crate) identity: Identity,
    /// The certificate of this process, if gRPC is to be mutual TLS.
    pub(crate) tls: tls::Config,
    /// How long work in progress may take after the order to end. Text such as `10s`.
    #[serde(with = "humantime_serde")]
    pub(crate) drain: Duration,
    /// The broker: RabbitMQ, or the Postgres queue.
    pub(crate) events: ::events::Config,
    /// Keys and values that may be lost: Redis, or tables in Postgres.
    pub(crate) kv: kv::Config,
    /// Keys of fields that are encrypted at rest: a key file, or Tencent Cloud's key management service.
    pub(crate) kms: kms::Config,
    /// The auth service.
    pub(crate) auth: auth::Config,
    /// The quota service.
    pub(crate) quota: quota::Config,
    /// The task service.
    pub(crate) task: task::Config,
    /// The billing service.
    pub(crate) billing: billing::Config,
    /// The payment providers that billing talks to.
    pub(crate) providers: providers::Config,
    /// The saga orchestrator.
    pub(crate) saga: saga::Config,
    /// The gateway.
    pub(crate) gateway: gateway::Config,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            database: PoolConfig::default(),
            telemetry: telemetry::Config::default(),
            listen: Listen::default(),
            admin: Admin::default(),
            limits: ListenerLimits::default(),
            peers: Peers::default(),
            identity: Identity::default(),
            tls: tls::Config::default(),
            drain: Duration::from_secs(10),
            events: ::events::Config::default(),
            kv: kv::Config::default(),
            kms: kms::Config::default(),
            auth: auth::Config::default(),
            quota: quota::Config::default(),
            task: task::Config::default(),
            billing: billing::Config::default(),
            providers: providers::Config::default(),
            saga: saga::Config::default(),
            gateway: gateway::Config::default(),
        }
    }
}

/// Connections of each service where all share a process: they stay well under the 200 of a private server.
const SHARED_POOL: (u32, u32) = (4, 22);
/// Connections of the orchestrator beside its pool and its lanes: election, reading, renewal.
const SAGA_EXTRA_CONNECTIONS: u32 = 4;

impl Settings {
    /// Makes the pools smaller, unless they are configured: all services share one process and one small database.
    pub(crate) fn share_one_process(&mut self) {
        let defaults = PoolConfig::default();
        if (self.database.min, self.database.max) == (defaults.min, defaults.max) {
            (self.database.min, self.database.max) = SHARED_POOL;
        }
    }

    /// Connections of the gateway's store of keys and values: few where all services share one small database.
    pub(crate) fn gateway_store_connections(&self) -> u32 {
        let shared = self.database.max <= SHARED_POOL.1;
        if shared {
            super::identity::CONNECTIONS * 2
        } else {
            super::identity::GATEWAY_CONNECTIONS
        }
    }

    /// Connections that one replica of every service may open together.
    pub(crate) fn connections(&self) -> u32 {
        let lanes = u32::try_from(self.saga.lanes).unwrap_or(u32::MAX);
        let saga = self
            .saga
            .pool
            .max
            .saturating_add(lanes)
            .saturating_add(SAGA_EXTRA_CONNECTIONS);
        // Every process has a broker, and the orchestrator one of its own beside it.
        let brokers = CONNECTIONS * 7;
        let stores = super::identity::CONNECTIONS * 5 + self.gateway_store_connections();
        // Quota, tasks and billing have the whole budget each, and accounts half of one: they take no steps.
        self.database
            .max
            .saturating_mul(3)
            .saturating_add(self.database.max / 2)
            .saturating_add(saga)
            .saturating_add(brokers)
            .saturating_add(stores)
    }
}

impl Settings {
    /// Address on which a process tells machines how it is. `public` is the address from which it follows if it is not
    /// configured.
    pub(crate) fn admin_address(&self, public: SocketAddr) -> SocketAddr {
        let beside = SocketAddr::new(public.ip(), port(public.port(), ADMIN_PORT_OFFSET));
        self.admin.listen.unwrap_or(beside)
    }
}

/// Limits of the two kinds of listeners.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ListenerLimits {
    /// Public sides.
    pub(crate) public: Limits,
    /// Steps, called by the orchestrator only.
    pub(crate) steps: Limits,
}

/// By which keys services know each other.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Identity {
    /// Directory with the own private key of each service that is run, and the public keys of all.
    pub(crate) keys: PathBuf,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            keys: identity::DEFAULT_DIR.into(),
        }
    }
}

/// Adds our own services to the participants, by the addresses they answer steps on; what is configured stays.
///
/// The definitions that ship with the binary call them, so that a setting of somebody else's participant alone must not
/// take them away.
pub(crate) fn add_own_participants(settings: &mut Settings, steps: &[(Name, SocketAddr)]) {
    let scheme = if settings.tls.is_set() { "https" } else { "http" };
    for (name, address) in steps {
        let name = name.text();
        let participants = &mut settings.saga.participants;
        participants
            .entry(format!("evenkeel.{name}.v1"))
            .or_insert_with(|| saga::participants::Config {
                url: format!("{scheme}://{address}"),
                error_domain: format!("{name}.evenkeel"),
                descriptors: None,
                audience: None,
                limit: None,
            });
    }
}

/// Loads the settings.
///
/// # Errors
/// Unknown keys, wrong values, an unreadable file; the message names each key and where its value came from.
pub(crate) fn load(file: Option<&Path>) -> Result<Settings, Failure> {
    let vars = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut settings: Settings = config::load_from(file, vars, &WELL_KNOWN)
        .map_err(|error| Failure::config(error.to_string()).next("docs/operations.md lists every key"))?;
    if settings.tls.is_set() {
        settings.peers.speak_tls();
    }
    Ok(settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_follow_from_the_first_one() {
        let listen = Listen::from_base(9000);
        assert_eq!(listen.public(Name::Saga), local(9001));
        assert_eq!(listen.steps(Name::Task), Some(local(9013)));
        assert_eq!(listen.steps(Name::Saga), None);
        assert_eq!(Listen::from_base(0).public(Name::Quota).port(), 0);
    }

    #[test]
    fn the_port_for_machines_lies_beside_the_service_unless_it_is_configured() {
        let mut settings = Settings::default();
        let quota = settings.listen.public(Name::Quota);
        assert_eq!(settings.admin_address(quota), local(7122));
        assert_eq!(settings.admin_address(local(0)), local(0));
        settings.admin.listen = Some(local(9090));
        assert_eq!(settings.admin_address(quota), local(9090));
    }

    #[test]
    fn names_people_know_set_their_keys() {
        let vars = [
            ("DATABASE_URL", "postgres://x/y"),
            ("EVENKEEL_SAGA_URL", "http://sagas:1"),
            ("KMS_REGION", "ap-shanghai"),
            ("KMS_SECRET_ID", "id"),
            ("KMS_SECRET_KEY", "planted"),
            ("KMS_KEY_ID", "cmk"),
            ("EVENKEEL_KMS__PROVIDER", "tencent"),
        ];
        let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let settings: Settings = config::load_from(None, vars, &WELL_KNOWN).unwrap();
        assert_eq!(settings.database.url, "postgres://x/y");
        assert_eq!(settings.peers.saga, "http://sagas:1");
        let kms = kms::Kms::open_config(&settings.kms).unwrap().unwrap();
        assert_eq!(kms.current().to_string(), "tencent:cmk");
        assert_eq!(settings.kms.tencent.region, "ap-shanghai");
        assert!(!format!("{settings:?}").contains("planted"));
    }

    #[test]
    fn one_process_of_all_services_fits_a_small_server() {
        let mut settings = Settings::default();
        assert!(settings.connections() > 200);
        settings.share_one_process();
        // A private server has 200.
        assert!(settings.connections() < 150, "{}", settings.connections());
    }

    #[test]
    fn a_participant_of_somebody_else_does_not_take_ours_away() {
        let mut settings = Settings::default();
        let theirs = saga::participants::Config {
            url: "http://q:1".to_owned(),
            error_domain: "q".to_owned(),
            descriptors: None,
            audience: None,
            limit: None,
        };
        for package in ["acme.shop.v1", "evenkeel.quota.v1"] {
            settings
                .saga
                .participants
                .insert(package.to_owned(), theirs.clone());
        }
        let steps = [(Name::Quota, local(1)), (Name::Task, local(2))];
        add_own_participants(&mut settings, &steps);
        let urls: Vec<&str> = settings
            .saga
            .participants
            .values()
            .map(|p| p.url.as_str())
            .collect();
        assert_eq!(urls, ["http://q:1", "http://q:1", "http://127.0.0.1:2"]);
    }

    #[test]
    fn peers_that_are_not_configured_speak_what_this_process_speaks() {
        let mut peers = Peers {
            quota: "http://quota:7102".to_owned(),
            ..Peers::default()
        };
        peers.speak_tls();
        assert_eq!(peers.saga, "https://127.0.0.1:7101");
        assert_eq!(peers.quota, "http://quota:7102");
        let mut settings = Settings::default();
        settings.tls.certificate = Some("x".into());
        add_own_participants(&mut settings, &[(Name::Quota, local(1))]);
        let urls = settings.saga.participants.into_values().map(|p| p.url);
        assert!(urls.eq(["https://127.0.0.1:1"]));
    }

    #[test]
    fn a_misspelt_key_is_an_error() {
        let vars = [("EVENKEEL_LISTEN__QOTA".to_owned(), "127.0.0.1:1".to_owned())];
        let error = config::load_from::<Settings>(None, vars, &WELL_KNOWN).unwrap_err();
        assert!(error.to_string().contains("qota"), "{error}");
    }
}
