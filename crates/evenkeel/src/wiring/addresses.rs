//! Where services listen, and where they find each other.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::Deserialize;

use super::name::Name;

/// First of the ports that are used unless something else is said: saga 7101, quota 7102 and so on.
pub(crate) const DEFAULT_PORT_BASE: u16 = 7100;

/// Addresses to listen on.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Listen {
    auth: SocketAddr,
    quota: SocketAddr,
    quota_steps: SocketAddr,
    task: SocketAddr,
    task_steps: SocketAddr,
    billing: SocketAddr,
    billing_steps: SocketAddr,
    saga: SocketAddr,
    gateway: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        Self::from_base(DEFAULT_PORT_BASE)
    }
}

impl Listen {
    /// Addresses on the loopback interface from a first port; 0 takes free ports.
    pub(crate) fn from_base(base: u16) -> Self {
        let at = |offset| local(port(base, offset));
        let steps = |name: Name| name.steps_port_offset().map_or_else(|| local(0), at);
        Self {
            auth: at(Name::Auth.port_offset()),
            quota: at(Name::Quota.port_offset()),
            quota_steps: steps(Name::Quota),
            task: at(Name::Task.port_offset()),
            task_steps: steps(Name::Task),
            billing: at(Name::Billing.port_offset()),
            billing_steps: steps(Name::Billing),
            saga: at(Name::Saga.port_offset()),
            gateway: at(Name::Gateway.port_offset()),
        }
    }

    /// Address of a service's public side.
    pub(crate) const fn public(&self, name: Name) -> SocketAddr {
        match name {
            Name::Auth => self.auth,
            Name::Quota => self.quota,
            Name::Task => self.task,
            Name::Billing => self.billing,
            Name::Saga => self.saga,
            Name::Gateway => self.gateway,
        }
    }

    /// Address on which a service answers steps; `None` if it has none.
    pub(crate) const fn steps(&self, name: Name) -> Option<SocketAddr> {
        match name {
            Name::Quota => Some(self.quota_steps),
            Name::Task => Some(self.task_steps),
            Name::Billing => Some(self.billing_steps),
            Name::Auth | Name::Saga | Name::Gateway => None,
        }
    }

    /// Sets the address of a service's public side.
    pub(crate) const fn set_public(&mut self, name: Name, address: SocketAddr) {
        match name {
            Name::Auth => self.auth = address,
            Name::Quota => self.quota = address,
            Name::Task => self.task = address,
            Name::Billing => self.billing = address,
            Name::Saga => self.saga = address,
            Name::Gateway => self.gateway = address,
        }
    }

    /// Sets the address on which a service answers steps; false if it has none.
    pub(crate) const fn set_steps(&mut self, name: Name, address: SocketAddr) -> bool {
        match name {
            Name::Quota => self.quota_steps = address,
            Name::Task => self.task_steps = address,
            Name::Billing => self.billing_steps = address,
            Name::Auth | Name::Saga | Name::Gateway => return false,
        }
        true
    }
}

/// The HTTP listener for machines that watch a process: metrics, liveness, readiness, status.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Admin {
    /// Address to listen on; if absent, that of the first service with a port of 20 more.
    pub(crate) listen: Option<SocketAddr>,
}

/// Distance of the port for machines from a public port: saga (and `dev`) 7121, quota 7122, task 7123.
pub(super) const ADMIN_PORT_OFFSET: u16 = 20;

/// Port of an offset; 0 stays 0, which takes a free one.
pub(crate) const fn port(base: u16, offset: u16) -> u16 {
    if base == 0 { 0 } else { base.saturating_add(offset) }
}

/// A port on the loopback interface.
pub(crate) const fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// Where other services are.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Peers {
    /// URL of the saga service, which the task service and the gateway call.
    pub(crate) saga: String,
    /// URL of the auth service, which has the keys of users' tokens.
    pub(crate) auth: String,
    /// URL of the quota service, which the gateway calls, and the auth service for what profiles show.
    pub(crate) quota: String,
    /// URL of the task service, which the gateway calls.
    pub(crate) task: String,
    /// URL of the billing service, which the gateway calls.
    pub(crate) billing: String,
}

impl Default for Peers {
    fn default() -> Self {
        let at = |offset| format!("http://{}", local(port(DEFAULT_PORT_BASE, offset)));
        Self {
            saga: at(Name::Saga.port_offset()),
            auth: at(Name::Auth.port_offset()),
            quota: at(Name::Quota.port_offset()),
            task: at(Name::Task.port_offset()),
            billing: at(Name::Billing.port_offset()),
        }
    }
}

impl Peers {
    /// Takes the peers that are not configured for ones of the same settings: they speak TLS, too.
    pub(super) fn speak_tls(&mut self) {
        let plain = Self::default();
        for (peer, plain) in [
            (&mut self.saga, plain.saga),
            (&mut self.auth, plain.auth),
            (&mut self.quota, plain.quota),
            (&mut self.task, plain.task),
            (&mut self.billing, plain.billing),
        ] {
            if *peer == plain {
                *peer = plain.replacen("http:", "https:", 1);
            }
        }
    }
}
