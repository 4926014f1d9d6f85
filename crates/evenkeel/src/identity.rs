//! Who people at the command line are: holders of the key of `operator`.

use std::path::{Path, PathBuf};

use rpc::channel::{self, Dialer};
use serde::Deserialize;
use tls::Mutual;
use token::{Bearer, Credentials, OPERATOR, ORCHESTRATOR, ServiceName};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

use crate::exit::{Code, Failure};

/// Where keys are unless something else is said: below the data of `evenkeel dev`.
pub(crate) const DEFAULT_DIR: &str = ".evenkeel/keys";
/// Environment variable that names the directory.
pub(crate) const VARIABLE: &str = "EVENKEEL_KEYS";

/// A channel whose calls say who makes them, if there is a key to say it with.
pub(crate) type Channel = InterceptedService<channel::Channel, Signature>;

/// Adds the token, if any.
#[derive(Debug, Clone)]
pub(crate) struct Signature(Option<Bearer>);

impl Interceptor for Signature {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        match &mut self.0 {
            Some(bearer) => bearer.call(request),
            None => Ok(request),
        }
    }
}

/// Who makes the calls of this command.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    credentials: Option<Credentials>,
    dialer: Dialer,
}

/// What commands that call services read of the settings, from the environment; the rest is for servers.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    tls: tls::Config,
}

impl Identity {
    /// Takes the operator's key from the directory that was given, and the certificate from the environment. Where none was given and there is none in the usual
    /// place, calls say nothing: what needs nobody still works, and the server says what does not.
    ///
    /// # Errors
    /// The directory that was given has no usable key, or the certificate cannot be used.
    pub(crate) fn operator(given: Option<&Path>) -> Result<Self, Failure> {
        let settings: Settings =
            process::config::load(None).map_err(|error| Failure::config(error.to_string()))?;
        Self::operator_with(given, &settings.tls)
    }

    /// The same with this certificate.
    ///
    /// # Errors
    /// The directory that was given has no usable key, or the certificate cannot be used.
    pub(crate) fn operator_with(given: Option<&Path>, tls: &tls::Config) -> Result<Self, Failure> {
        Self::taken(OPERATOR, given, tls)
    }

    fn taken(name: &str, given: Option<&Path>, tls: &tls::Config) -> Result<Self, Failure> {
        let dialer = dialer(mutual(name, tls)?);
        let dir = given.unwrap_or(Path::new(DEFAULT_DIR));
        match open(dir, name) {
            Ok(credentials) => Ok(Self {
                credentials: Some(credentials),
                dialer,
            }),
            Err(_) if given.is_none() && !dir.join(format!("{name}.key.pem")).exists() => Ok(Self {
                credentials: None,
                dialer,
            }),
            Err(failure) => Err(failure),
        }
    }

    /// Takes the identity of the orchestrator, for commands that play it: its key from the directory that was given, else from
    /// the usual place if there is one, and the certificate from the environment.
    ///
    /// # Errors
    /// The directory that was given has no usable key, or the certificate cannot be used.
    pub(crate) fn orchestrator(given: Option<&Path>) -> Result<Self, Failure> {
        let settings: Settings =
            process::config::load(None).map_err(|error| Failure::config(error.to_string()))?;
        Self::taken(ORCHESTRATOR, given, &settings.tls)
    }

    /// Takes the identity of a service.
    pub(crate) fn of(credentials: Credentials) -> Self {
        Self {
            dialer: credentials.dialer().clone(),
            credentials: Some(credentials),
        }
    }

    /// Opens a channel to a participant, and returns what says who calls over it.
    ///
    /// # Errors
    /// If the URL is not one, or the audience no name.
    pub(crate) fn line(&self, url: &str, audience: &str) -> Result<conformance::participant::Line, Failure> {
        let channel = self
            .dialer
            .lazy(url)
            .map_err(|e| Failure::new(Code::Usage, "the participant's address is wrong").because(&e))?;
        let audience = name(audience)?;
        let bearer = (self.credentials.as_ref()).map(|credentials| credentials.bearer(audience));
        Ok(conformance::participant::Line { channel, bearer })
    }

    /// Opens a channel to a service; it connects on first use.
    ///
    /// # Errors
    /// If the URL is not one.
    pub(crate) fn channel(&self, url: &str, service: &str) -> Result<Channel, Failure> {
        let channel = self
            .dialer
            .lazy(url)
            .map_err(|e| Failure::new(Code::Usage, "the server's address is wrong").because(&e))?;
        let audience = name(service)?;
        let bearer = self
            .credentials
            .as_ref()
            .map(|credentials| credentials.bearer(audience));
        Ok(InterceptedService::new(channel, Signature(bearer)))
    }
}

/// Reads the name of a service.
///
/// # Errors
/// It is not one.
pub(crate) fn name(service: &str) -> Result<ServiceName, Failure> {
    service
        .parse()
        .map_err(|error| Failure::new(Code::Usage, "this is no name of a service").because(&error))
}

/// Reads the private key of a service.
///
/// # Errors
/// It is not there, or not a key; the failure says how to make one.
pub(crate) fn open(dir: &Path, service: &str) -> Result<Credentials, Failure> {
    Credentials::open(dir, name(service)?).map_err(|error| no_keys(dir, service).because(&error))
}

/// Reads the certificate of a service, if the settings name one.
///
/// # Errors
/// It cannot be used, or is of another service.
pub(crate) fn mutual(service: &str, config: &tls::Config) -> Result<Option<Mutual>, Failure> {
    if !config.is_set() {
        return Ok(None);
    }
    let unusable =
        |error: &dyn std::error::Error| Failure::config("the certificate cannot be used").because(error);
    let mutual = Mutual::open(config, service).map_err(|error| unusable(&error))?;
    match token::certified(&mutual.leaf()) {
        Some(other) if other.as_str() != service => Err(Failure::config(format!(
            "tls.certificate is of {other}, and this is {service}"
        ))
        .next("give each service a process and a certificate of its own")),
        Some(_) | None => Ok(Some(mutual)),
    }
}

/// How a process with this certificate, or without, calls others.
pub(crate) fn dialer(mutual: Option<Mutual>) -> Dialer {
    mutual.map_or_else(Dialer::plain, Dialer::mutual)
}

/// The failure of a process that has no keys, and what to do about it.
pub(crate) fn no_keys(dir: &Path, service: &str) -> Failure {
    Failure::config(format!(
        "there is no usable key of {service} in {}",
        dir.display()
    ))
    .next(format!(
        "make keys with `evenkeel keys init DIR`, and name the directory with --keys or {VARIABLE}"
    ))
}

/// Makes the keys that are not there yet, for everybody who has one.
///
/// # Errors
/// The directory cannot be written.
pub(crate) fn ensure(dir: &Path) -> Result<(), Failure> {
    for service in EVERYBODY {
        create(dir, service)?;
    }
    Ok(())
}

/// Who has keys: the services, people at the command line, the benchmark.
pub(crate) const EVERYBODY: [&str; 8] = [
    "saga", "quota", "task", "billing", "auth", "gateway", OPERATOR, "bench",
];

/// Makes the keys of one service, unless they are there.
///
/// # Errors
/// The directory cannot be written, or the name is none.
pub(crate) fn create(dir: &Path, service: &str) -> Result<token::Created, Failure> {
    token::create(dir, &name(service)?)
        .map_err(|error| Failure::unavailable(format!("cannot make the keys of {service}")).because(&error))
}

/// Makes a directory absolute, for processes that are started elsewhere.
pub(crate) fn absolute(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned())
}
