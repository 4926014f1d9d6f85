//! Installs the subscriber.

use std::io::{self, IsTerminal};

use opentelemetry_sdk::trace::SdkTracerProvider;
use serde::Deserialize;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt};

use crate::json::JsonLayer;
use crate::otlp;

/// Used for every target the configured filter says nothing about.
const QUIET: &str = "h2=warn,hyper=warn,hyper_util=warn,opentelemetry=warn,opentelemetry_sdk=warn,sqlx=warn,tonic=warn,tower=warn";

/// What a log line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line with flat fields, for machines.
    Json,
    /// For people at a terminal; coloured only if stderr is one.
    #[default]
    Text,
}

/// Describes the telemetry of a process.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Name of the service in log lines and traces. Set by the program, not by the file.
    #[serde(skip)]
    pub service: String,
    /// Form of log lines.
    pub format: Format,
    /// Filter directives as in `info,quota=debug`. The environment variable `RUST_LOG` wins.
    pub level: String,
    /// OTLP/gRPC endpoint of a collector, for example `http://localhost:4317`; `None` exports nothing.
    pub otlp_endpoint: Option<String>,
    /// Share of new traces that are exported, 0 to 1. Traces begun elsewhere keep their decision.
    pub sample_ratio: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            service: "evenkeel".to_owned(),
            format: Format::Text,
            level: "info".to_owned(),
            otlp_endpoint: None,
            sample_ratio: 1.0,
        }
    }
}

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter directives cannot be read.
    #[error(
        "telemetry.level (or RUST_LOG) is `{level}`, which is not a list of filter directives such as info,quota=debug"
    )]
    Level {
        /// The directives.
        level: String,
        /// The cause.
        #[source]
        source: ParseError,
    },
    /// The exporter cannot be built from the endpoint.
    #[error("cannot export traces to `{endpoint}`")]
    Exporter {
        /// The endpoint.
        endpoint: String,
        /// The cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The sample ratio is not between 0 and 1.
    #[error("telemetry.sample_ratio is {ratio}; it must be between 0 and 1")]
    SampleRatio {
        /// The ratio.
        ratio: f64,
    },
    /// A subscriber is installed already.
    #[error("telemetry is already set up in this process")]
    AlreadySet,
}

/// Keeps the exporter alive. Dropping it sends what is queued, for at most 2 s; [`Guard::shutdown`] does so without
/// holding a runtime thread.
#[derive(Debug)]
#[must_use = "dropping the guard ends the export of traces"]
pub struct Guard {
    provider: Option<SdkTracerProvider>,
}

impl Guard {
    /// Sends what is queued and ends the export, for at most 2 s.
    pub async fn shutdown(mut self) {
        if let Some(provider) = self.provider.take() {
            let ended = tokio::task::spawn_blocking(move || otlp::end(&provider)).await;
            if let Err(error) = ended {
                tracing::error!(%error, "ending the export of traces panicked");
            }
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(provider) = &self.provider {
            otlp::end(provider);
        }
    }
}

/// Installs the global subscriber. With an OTLP endpoint, call it inside a tokio runtime.
///
/// # Errors
/// Unreadable filter directives, an unusable endpoint or ratio, or a second call in one process.
pub fn init(config: &Config) -> Result<Guard, Error> {
    let filter = filter(config)?;
    if !(0.0..=1.0).contains(&config.sample_ratio) {
        return Err(Error::SampleRatio {
            ratio: config.sample_ratio,
        });
    }
    let provider = match config
        .otlp_endpoint
        .as_deref()
        .filter(|endpoint| !endpoint.is_empty())
    {
        Some(endpoint) => Some(otlp::provider(&config.service, endpoint, config.sample_ratio)?),
        None => None,
    };
    let spans = tracing_subscriber::registry().with(provider.as_ref().map(otlp::layer));
    // The line layers are not optional or boxed: `Option` and `Vec` do not tell a layer which subscriber it is part of,
    // and without that the JSON lines could not name their trace.
    match config.format {
        Format::Json => spans
            .with(JsonLayer::new(config.service.clone(), io::stderr))
            .with(filter)
            .try_init(),
        Format::Text => {
            let lines = fmt::layer()
                .with_writer(io::stderr)
                .with_ansi(io::stderr().is_terminal());
            spans.with(lines).with(filter).try_init()
        }
    }
    .map_err(|_| Error::AlreadySet)?;
    Ok(Guard { provider })
}

fn filter(config: &Config) -> Result<EnvFilter, Error> {
    let level = std::env::var("RUST_LOG")
        .ok()
        .filter(|v| !v.is_empty())
        .unwrap_or_else(|| config.level.clone());
    // Later directives win over earlier ones of the same target.
    EnvFilter::try_new(format!("{QUIET},{level}")).map_err(|source| Error::Level { level, source })
}
