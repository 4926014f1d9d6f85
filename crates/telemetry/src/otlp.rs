//! The OTLP exporter.

use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, Tracer};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Registry;

use crate::Error;

const EXPORT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the end of a process waits for queued spans.
const END_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) fn provider(service: &str, endpoint: &str, ratio: f64) -> Result<SdkTracerProvider, Error> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .with_timeout(EXPORT_TIMEOUT)
        .build()
        .map_err(|source| Error::Exporter {
            endpoint: endpoint.to_owned(),
            source: Box::new(source),
        })?;
    Ok(SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(ratio))))
        .with_resource(Resource::builder().with_service_name(service.to_owned()).build())
        .build())
}

pub(crate) fn layer(provider: &SdkTracerProvider) -> OpenTelemetryLayer<Registry, Tracer> {
    tracing_opentelemetry::layer().with_tracer(provider.tracer("evenkeel"))
}

/// Blocks until queued spans are sent or 2 s are over.
pub(crate) fn end(provider: &SdkTracerProvider) {
    if let Err(error) = provider.shutdown_with_timeout(END_TIMEOUT) {
        tracing::warn!(%error, "not all spans were exported");
    }
}
