//! What a service shows when it calls another.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use http::header::AUTHORIZATION;
use rpc::channel::{self, Dialer, EndpointError};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

use crate::caller::ServiceName;
use crate::claims::{SERVICE_LIFETIME, sign_service};
use crate::directory::{self, DirectoryError};
use crate::keys::SigningKey;

/// A channel whose calls say who makes them.
pub type Channel = InterceptedService<channel::Channel, Bearer>;

/// The own name and key of a service, and its certificate if it has one. Clones are the same identity.
#[derive(Debug, Clone)]
pub struct Credentials {
    name: ServiceName,
    key: SigningKey,
    dialer: Dialer,
}

impl Credentials {
    /// Reads the private key of the service `name` from its directory.
    ///
    /// # Errors
    /// The file is absent, unreadable, or not an Ed25519 key.
    pub fn open(dir: &Path, name: ServiceName) -> Result<Self, DirectoryError> {
        let key = directory::read_private(dir, &name)?;
        Ok(Self {
            name,
            key,
            dialer: Dialer::plain(),
        })
    }

    /// Lets [`connect`](Self::connect) use a certificate, too.
    #[must_use]
    pub fn with_dialer(mut self, dialer: Dialer) -> Self {
        self.dialer = dialer;
        self
    }

    /// Returns how the service opens channels over which it does not act for itself.
    #[must_use]
    pub const fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Returns the name under which it calls.
    #[must_use]
    pub const fn name(&self) -> &ServiceName {
        &self.name
    }

    /// Makes a token that is good for calls to `audience` for 5 min from `now`.
    #[must_use]
    pub fn token(&self, audience: &ServiceName, now: SystemTime) -> String {
        sign_service(&self.name, audience, now, &self.key)
    }

    /// Returns what adds the token to calls to `audience`. It is made anew when 4 of its 5 minutes are over; making one takes
    /// tens of microseconds and no network.
    #[must_use]
    pub fn bearer(&self, audience: ServiceName) -> Bearer {
        Bearer(Arc::new(Shared {
            credentials: self.clone(),
            audience,
            made: ArcSwapOption::empty(),
        }))
    }

    /// Opens a channel to the service `audience` whose calls say who makes them. It connects on first use.
    ///
    /// # Errors
    /// If the URL is not one, or is `https` and there is no certificate.
    pub fn connect(&self, url: &str, audience: ServiceName) -> Result<Channel, EndpointError> {
        Ok(self.channel(self.dialer.lazy(url)?, audience))
    }

    /// The same to a listener of this process, or of another replica of the service, at whatever address.
    ///
    /// # Errors
    /// If the URL is not one, or is `https` and there is no certificate.
    pub fn connect_to_own(&self, url: &str) -> Result<Channel, EndpointError> {
        Ok(self.channel(self.dialer.lazy_to_own(url)?, self.name.clone()))
    }

    /// Lets the calls of a channel say who makes them.
    #[must_use]
    pub fn channel(&self, channel: impl Into<channel::Channel>, audience: ServiceName) -> Channel {
        InterceptedService::new(channel.into(), self.bearer(audience))
    }
}

/// Adds the token of a service to each call that does not bring one along: a user's token that is passed on stays. Clones
/// share the token.
#[derive(Clone)]
pub struct Bearer(Arc<Shared>);

struct Shared {
    credentials: Credentials,
    audience: ServiceName,
    made: ArcSwapOption<Made>,
}

struct Made {
    header: MetadataValue<Ascii>,
    at: SystemTime,
}

impl Bearer {
    /// Returns the value of `authorization` at a time.
    #[must_use]
    pub fn header(&self, now: SystemTime) -> MetadataValue<Ascii> {
        if let Some(made) = &*self.0.made.load() {
            // A clock that was set back makes the age an error: the token would be from the future.
            let age = now.duration_since(made.at);
            if age.is_ok_and(|age| age < SERVICE_LIFETIME * 4 / 5) {
                return made.header.clone();
            }
        }
        let token = self.0.credentials.token(&self.0.audience, now);
        let mut header = MetadataValue::try_from(format!("Bearer {token}"))
            .expect("base64url and dots can stand in a header");
        header.set_sensitive(true);
        self.0.made.store(Some(Arc::new(Made {
            header: header.clone(),
            at: now,
        })));
        header
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared {
            credentials,
            audience,
            ..
        } = &*self.0;
        write!(f, "Bearer({} to {audience})", credentials.name)
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if !request.metadata().contains_key(AUTHORIZATION.as_str()) {
            let header = self.header(SystemTime::now());
            request.metadata_mut().insert(AUTHORIZATION.as_str(), header);
        }
        Ok(request)
    }
}
