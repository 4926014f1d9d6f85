//! Log lines as flat JSON objects: `ts`, `level`, `service`, `target`, `message`, then the fields of the event and of the
//! spans around it (the innermost wins), then `trace_id`.

use std::fmt::Debug;
use std::io::Write;
use std::sync::OnceLock;

use serde_json::{Map, Value};
use tracing::dispatcher::WeakDispatch;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use crate::trace;

/// Keys of the line itself; a field of such a name gets a `_` at its end.
const RESERVED: [&str; 5] = ["ts", "level", "service", "target", "trace_id"];

/// Writes each event as one line.
pub(crate) struct JsonLayer<W> {
    service: String,
    writer: W,
    /// The subscriber this layer is part of; it answers which trace a span belongs to.
    dispatch: OnceLock<WeakDispatch>,
}

impl<W> JsonLayer<W> {
    pub(crate) fn new(service: String, writer: W) -> Self {
        Self {
            service,
            writer,
            dispatch: OnceLock::new(),
        }
    }

    fn trace_id<S>(&self, event: &Event<'_>, ctx: &Context<'_, S>) -> Option<String>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let exported = || {
            let span = ctx.event_span(event)?;
            trace::exported_trace_id(&span.id(), &self.dispatch.get()?.upgrade()?)
        };
        exported().or_else(|| trace::scoped().map(|parent| parent.trace_id()))
    }
}

/// Fields of a span, kept with it.
struct SpanFields(Map<String, Value>);

impl<S, W> Layer<S> for JsonLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_register_dispatch(&self, dispatch: &Dispatch) {
        // A layer belongs to one subscriber; a second registration would be a mistake of the caller.
        let _ = self.dispatch.set(dispatch.downgrade());
    }

    fn on_new_span(&self, attrs: &Attributes<'_>, id: &Id, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        let mut fields = Map::new();
        attrs.record(&mut Collect(&mut fields));
        span.extensions_mut().insert(SpanFields(fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, ctx: Context<'_, S>) {
        let Some(span) = ctx.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<SpanFields>() {
            values.record(&mut Collect(&mut fields.0));
        }
    }

    fn on_event(&self, event: &Event<'_>, ctx: Context<'_, S>) {
        let mut line = Map::new();
        let meta = event.metadata();
        line.insert("ts".to_owned(), now().into());
        line.insert("level".to_owned(), meta.level().as_str().into());
        line.insert("service".to_owned(), self.service.as_str().into());
        line.insert("target".to_owned(), meta.target().into());
        for span in ctx
            .event_scope(event)
            .into_iter()
            .flat_map(|scope| scope.from_root())
        {
            if let Some(fields) = span.extensions().get::<SpanFields>() {
                line.extend(fields.0.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
        }
        event.record(&mut Collect(&mut line));
        if let Some(trace_id) = self.trace_id(event, &ctx) {
            line.insert("trace_id".to_owned(), trace_id.into());
        }
        let mut text = Value::Object(line).to_string();
        text.push('\n');
        // One write a line, so that lines of several threads do not mix. A closed stderr must not end the process.
        let _ = self.writer.make_writer_for(meta).write_all(text.as_bytes());
    }
}

/// RFC 3339 in UTC with microseconds.
fn now() -> String {
    let mut text = String::with_capacity(27);
    match SystemTime.format_time(&mut Writer::new(&mut text)) {
        Ok(()) => text,
        Err(_) => String::new(),
    }
}

struct Collect<'a>(&'a mut Map<String, Value>);

impl Collect<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        let name = field.name();
        let key = if RESERVED.contains(&name) {
            format!("{name}_")
        } else {
            name.to_owned()
        };
        self.0.insert(key, value);
    }
}

impl Visit for Collect<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }
    fn record_i128(&mut self, field: &Field, value: i128) {
        self.put(field, value.to_string().into());
    }
    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(field, value.to_string().into());
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        // The whole chain: `Display` of our errors does not print the source.
        let chain: Vec<String> = std::iter::successors(Some(value), |error| error.source())
            .map(ToString::to_string)
            .collect();
        self.put(field, chain.join(": ").into());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}").into());
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(work: impl FnOnce()) -> Vec<Value> {
        let buffer = Buffer::default();
        let for_layer = buffer.clone();
        let layer = JsonLayer::new("quota".to_owned(), move || for_layer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn fields_of_spans_and_events_lie_flat_and_the_innermost_wins() {
        let lines = logged(|| {
            let _outer = tracing::info_span!("outer", saga_id = "saga_1", step = "A").entered();
            let inner = tracing::info_span!("inner", step = "B", outcome = tracing::field::Empty).entered();
            inner.record("outcome", "Succeeded");
            tracing::info!(attempt = 2_u32, duration_ms = 1.5, done = true, "step attempt");
        });
        let [line] = &lines[..] else { panic!("{lines:?}") };
        for (key, value) in [
            ("saga_id", Value::from("saga_1")),
            ("step", "B".into()),
            ("outcome", "Succeeded".into()),
            ("attempt", 2.into()),
            ("duration_ms", 1.5.into()),
            ("done", true.into()),
            ("message", "step attempt".into()),
            ("level", "INFO".into()),
            ("service", "quota".into()),
        ] {
            assert_eq!(line[key], value, "{key} in {line}");
        }
        assert!(line.get("trace_id").is_none());
        assert!(line["ts"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn an_event_cannot_forge_the_line_nor_break_it() {
        let lines =
            logged(|| tracing::info!(level = "FATAL", service = "other", text = "a\nb\"c", "two\nlines"));
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["level_"], "FATAL");
        assert_eq!(line["service"], "quota");
        assert_eq!(line["text"], "a\nb\"c");
    }

    #[test]
    fn an_error_is_written_with_its_causes() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] io::Error);
        let error = Outer(io::Error::other("inner"));
        let lines =
            logged(|| tracing::error!(error = &error as &(dyn std::error::Error + 'static), "failed"));
        assert_eq!(lines[0]["error"], "outer: inner");
    }

    #[tokio::test]
    async fn a_line_within_a_trace_names_it() {
        let parent = trace::Traceparent::random();
        let trace_id = parent.trace_id();
        let lines = trace::scope(parent, async { logged(|| tracing::info!("inside")) }).await;
        assert_eq!(lines[0]["trace_id"], trace_id);
    }

    #[test]
    fn with_an_exporter_a_line_names_the_trace_of_its_span() {
        use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider};
        use tracing_subscriber::EnvFilter;

        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let buffer = Buffer::default();
        let for_layer = buffer.clone();
        // The same stack as in `init`.
        let subscriber = tracing_subscriber::registry()
            .with(Some(crate::otlp::layer(&provider)))
            .with(JsonLayer::new("quota".to_owned(), move || for_layer.clone()))
            .with(EnvFilter::new("info"));
        tracing::subscriber::with_default(subscriber, || {
            let _entered = tracing::info_span!("outer").entered();
            tracing::info!("inside");
        });
        let line: Value = serde_json::from_slice(&buffer.0.lock().unwrap()).unwrap();
        let spans = exporter.get_finished_spans().unwrap();
        assert_eq!(line["trace_id"], spans[0].span_context.trace_id().to_string());
    }
}
