//! What a process tells machines that watch it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use process::admin::{Admin, Running};
use process::grpc::Listener;
use process::health::Readiness;
use proto::saga::v1::GetStatusRequest;
use proto::saga::v1::operator_service_client::OperatorServiceClient;
use serde_json::Value;
use token::{Channel, Credentials};

use super::services;
use super::settings::Name;
use crate::client;
use crate::exit::Failure;
use crate::proto_json;

/// Counting sagas takes a moment where there are millions; a watcher gives up after about so long, too.
const PATIENCE: Duration = Duration::from_secs(4);

/// The listener for machines, taken before anything is started, and what it will tell.
#[derive(Debug)]
pub(crate) struct Watch {
    listener: Listener,
    admin: Admin,
}

impl Watch {
    /// Takes the port, and keeps the metrics of this process from now on. Call it before services are built.
    ///
    /// # Errors
    /// The port is taken, or metrics are kept already.
    pub(crate) fn bind(address: SocketAddr) -> Result<Self, Failure> {
        let metrics = telemetry::metrics::install()
            .map_err(|error| Failure::unavailable("metrics cannot be kept").because(&error))?;
        let listener = services::bind("admin", address)
            .map_err(|failure| failure.next("choose another address with --admin-listen or admin.listen"))?;
        Ok(Self {
            listener,
            admin: Admin::new(metrics),
        })
    }

    /// Address of the listener, with its real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Adds a service that has been started; the orchestrator brings `/status` along, which it asks of itself.
    ///
    /// # Errors
    /// None in practice: an address makes a URL.
    pub(crate) fn add(
        mut self,
        name: Name,
        public: SocketAddr,
        credentials: Credentials,
        readiness: Readiness,
    ) -> Result<Self, Failure> {
        self.admin = self.admin.service(name.text(), readiness);
        if name == Name::Saga {
            let url = near(credentials.dialer().scheme(), public);
            let own = credentials
                .connect_to_own(&url)
                .map_err(|error| Failure::config("the own address is wrong").because(&error))?;
            let operators = OperatorServiceClient::new(own);
            self.admin = self.admin.json("/status", move || status(operators.clone()));
        }
        Ok(self)
    }

    /// Answers from now on, until the result is dropped.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub(crate) fn start(self) -> Result<Running, Failure> {
        self.admin
            .start(self.listener)
            .map_err(|error| Failure::unavailable("the admin listener cannot be used").because(&error))
    }
}

/// URL under which this process reaches a listener of its own.
fn near(scheme: &str, bound: SocketAddr) -> String {
    let ip = match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    format!("{scheme}://{}", SocketAddr::new(ip, bound.port()))
}

/// What `GetStatus` answers, zeros included. Asked over the API, so that it is what everybody else is told.
async fn status(mut operators: OperatorServiceClient<Channel>) -> Result<Value, String> {
    let request = client::request(GetStatusRequest::default(), PATIENCE);
    match operators.get_status(request).await {
        Ok(answer) => Ok(proto_json::full(
            "evenkeel.saga.v1.GetStatusResponse",
            answer.get_ref(),
        )),
        Err(status) => Err(format!(
            "{}: {}",
            rpc::error::code_name(status.code()),
            status.message()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_interfaces_is_reached_on_the_loopback_one() {
        let near = |text: &str| near("http", text.parse().unwrap());
        assert_eq!(near("0.0.0.0:7101"), "http://127.0.0.1:7101");
        assert_eq!(near("[::]:7101"), "http://[::1]:7101");
        assert_eq!(near("10.0.0.7:7101"), "http://10.0.0.7:7101");
    }
}
