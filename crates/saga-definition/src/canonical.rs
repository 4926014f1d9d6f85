//! The canonical text of a definition. It is JSON, hence YAML, hence a definition.

use serde_json::{Map, Value as Json, json};

use crate::call::{Await, Call, Retry, Target};
use crate::definition::{Step, Zone};
use crate::json::write_sorted;
use crate::scalar::{Literal, format_duration};
use crate::source::{CallSource, Expr, ExprNode, Source, StepSource, Time};

/// Writes a source whose check succeeded with these steps; `written` are their sources, in the same order.
pub(crate) fn write(
    source: &Source,
    written: &[&StepSource],
    steps: &[Step],
    on_compensated: Option<&Call>,
) -> String {
    let mut saga = Map::new();
    if let Some(name) = source.name.given() {
        saga.insert("saga".to_owned(), json!(name.value));
    }
    if let Some(version) = source.version.given() {
        saga.insert("version".to_owned(), number(version.value));
    }
    if let Some(input) = source.input.given() {
        saga.insert("input".to_owned(), json!(input.value));
    }
    if let Some(path) = &source.business_id {
        saga.insert("business_id".to_owned(), json!(path.value));
    }
    if let Some(deadline) = source.deadline.given() {
        saga.insert("deadline".to_owned(), time(&deadline.value));
    }
    let list = written
        .iter()
        .zip(steps)
        .enumerate()
        .map(|(index, (source, step))| {
            let mut map = call(&source.call, &step.call);
            map.insert("name".to_owned(), json!(step.name));
            let follows: Vec<usize> = index.checked_sub(1).into_iter().collect();
            if step.after != follows {
                let names = step.after.iter().filter_map(|before| steps.get(*before));
                let names: Vec<&str> = names.map(|before| before.name.as_str()).collect();
                map.insert("after".to_owned(), json!(names));
            }
            if let Some(condition) = &source.when {
                map.insert("when".to_owned(), expression(condition));
            }
            if let (Some(source), Some(checked)) = (&source.probe, &step.probe) {
                map.insert("probe".to_owned(), Json::Object(request(source, checked)));
            }
            if let (Some(source), Some(checked)) = (&source.compensate, &step.compensate) {
                map.insert("compensate".to_owned(), Json::Object(call(source, checked)));
            }
            if let Some(why) = &step.no_compensation {
                map.insert("no_compensation".to_owned(), json!(why));
            }
            match step.zone {
                Zone::Compensatable => {}
                Zone::Pivot => {
                    map.insert("pivot".to_owned(), json!(true));
                }
                Zone::Retriable => {
                    map.insert("retriable".to_owned(), json!(true));
                }
            }
            if let Some(expires) = &source.expires {
                map.insert("expires".to_owned(), time(&expires.value));
            }
            Json::Object(map)
        });
    saga.insert("steps".to_owned(), Json::Array(list.collect()));
    if let (Some(source), Some(checked)) = (&source.on_compensated, on_compensated) {
        saga.insert("on_compensated".to_owned(), Json::Object(call(source, checked)));
    }
    let mut text = String::new();
    write_sorted(&Json::Object(saga), &mut text);
    text
}

fn call(source: &CallSource, checked: &Call) -> Map<String, Json> {
    let mut map = request(source, checked);
    map.insert("retry".to_owned(), retry(checked.retry));
    map.insert("timeout".to_owned(), json!(format_duration(checked.timeout_ms)));
    map
}

/// What is called and with what, without when it is repeated.
fn request(source: &CallSource, checked: &Call) -> Map<String, Json> {
    let mut map = Map::new();
    match &checked.target {
        Target::Method { path, unsafe_ack, .. } => {
            map.insert("call".to_owned(), json!(path.trim_start_matches('/')));
            if let Some(why) = unsafe_ack {
                map.insert("unsafe_ack".to_owned(), json!(why));
            }
        }
        Target::Publish { routing_key } => {
            map.insert("publish".to_owned(), json!(routing_key));
            map.insert("message".to_owned(), json!(checked.request_type().full_name()));
        }
    }
    if let Some(awaits) = &checked.awaits {
        map.insert("await".to_owned(), awaited(awaits, checked));
    }
    if !source.with.is_empty() {
        let fields = source
            .with
            .iter()
            .map(|(name, value)| (name.value.clone(), expression(value)));
        map.insert("with".to_owned(), Json::Object(fields.collect()));
    }
    map
}

fn awaited(awaits: &Await, checked: &Call) -> Json {
    let Await::Reply {
        routing_key,
        failed,
        ask_again_ms,
    } = awaits
    else {
        return json!("token");
    };
    let mut map = Map::new();
    map.insert("reply".to_owned(), json!(routing_key));
    map.insert("message".to_owned(), json!(checked.reply_type().full_name()));
    if let Some(failed) = failed {
        map.insert("failed".to_owned(), json!(failed));
    }
    map.insert("ask_again".to_owned(), json!(format_duration(*ask_again_ms)));
    Json::Object(map)
}

fn retry(retry: Retry) -> Json {
    let mut map = Map::new();
    if let Some(retries) = retry.retries {
        map.insert("retries".to_owned(), json!(retries));
    }
    map.insert("initial".to_owned(), json!(format_duration(retry.initial_ms)));
    map.insert(
        "factor".to_owned(),
        json!(f64::from(retry.factor_milli) / 1_000.0),
    );
    map.insert("max".to_owned(), json!(format_duration(retry.max_ms)));
    Json::Object(map)
}

fn time(time: &Time) -> Json {
    match time {
        Time::Ms(ms) => json!(format_duration(*ms)),
        Time::Path(path) => json!(path),
    }
}

/// In JSON every text is quoted, so a path takes its long form.
fn expression(expr: &Expr) -> Json {
    match &expr.node {
        ExprNode::Path {
            text,
            allow_default: false,
        } => json!({ "from": text }),
        ExprNode::Path {
            text,
            allow_default: true,
        } => json!({ "from": text, "allow_default": true }),
        ExprNode::Literal(literal) => match literal {
            Literal::Text(text) => json!(text),
            Literal::Int(n) => number(*n),
            Literal::Float(x) => json!(x),
            Literal::Bool(b) => json!(b),
            Literal::Null => Json::Null,
        },
        ExprNode::Fields(fields) => Json::Object(
            fields
                .iter()
                .map(|(name, value)| (name.value.clone(), expression(value)))
                .collect(),
        ),
        ExprNode::List(items) => Json::Array(items.iter().map(expression).collect()),
    }
}

/// A checked integer fits 64 bits, signed or not.
fn number(n: i128) -> Json {
    match (i64::try_from(n), u64::try_from(n)) {
        (Ok(n), _) => json!(n),
        (Err(_), Ok(n)) => json!(n),
        (Err(_), Err(_)) => json!(n.to_string()),
    }
}
