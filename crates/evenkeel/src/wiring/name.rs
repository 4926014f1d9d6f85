//! The services that this binary can run, and what follows from their names.

/// A service that this binary can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, clap::ValueEnum)]
pub(crate) enum Name {
    /// Accounts: logins, tokens, sessions.
    Auth,
    /// Quota: grants, reservations, ledger.
    Quota,
    /// Tasks: pipelines against quota.
    Task,
    /// Billing: plans, orders, payments, refunds.
    Billing,
    /// The saga orchestrator.
    Saga,
    /// HTTP/JSON, WebSocket and SSE for clients outside.
    Gateway,
}

impl Name {
    /// Every service, in the order in which they are started: participants before the orchestrator, the front door last.
    pub(crate) const ALL: [Self; 6] = [
        Self::Auth,
        Self::Quota,
        Self::Task,
        Self::Billing,
        Self::Saga,
        Self::Gateway,
    ];

    /// Name as on the command line, and of its schema.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Quota => "quota",
            Self::Task => "task",
            Self::Billing => "billing",
            Self::Saga => "saga",
            Self::Gateway => "gateway",
        }
    }

    /// Name of its steps listener and pool.
    pub(crate) const fn steps_text(self) -> &'static str {
        match self {
            Self::Auth => "auth-steps",
            Self::Quota => "quota-steps",
            Self::Task => "task-steps",
            Self::Billing => "billing-steps",
            Self::Saga => "saga-steps",
            Self::Gateway => "gateway-steps",
        }
    }

    /// Distance of its public port from the first port.
    pub(crate) const fn port_offset(self) -> u16 {
        match self {
            Self::Saga => 1,
            Self::Quota => 2,
            Self::Task => 3,
            Self::Auth => 4,
            Self::Billing => 5,
            Self::Gateway => 80,
        }
    }

    /// Distance of its steps port from the first port; `None` if it takes no steps.
    pub(crate) const fn steps_port_offset(self) -> Option<u16> {
        match self {
            Self::Saga | Self::Auth | Self::Gateway => None,
            Self::Quota => Some(12),
            Self::Task => Some(13),
            Self::Billing => Some(15),
        }
    }
}
