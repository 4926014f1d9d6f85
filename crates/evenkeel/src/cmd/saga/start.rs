//! `evenkeel saga start`.

use std::time::Duration;

use chrono::Utc;
use proto::saga::v1::start_saga_request::Input;
use proto::saga::v1::wait_until::Until;
use proto::saga::v1::{StartSagaRequest, StartSagaResponse, WaitUntil};

use super::{Session, watch};
use crate::client::{self, CALL_TIMEOUT};
use crate::cmd::input;
use crate::exit::{Code, Failure};
use crate::output::{self, Format};
use crate::render;

/// Starts a saga, or finds the one already started under the same business id
///
/// Starting twice is safe: the same type, business id and input give the same saga. With `--wait end` the exit code
/// is 0 if the saga completed, and 1 if it ended otherwise or had not ended in time.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel saga start TASK_RUN --business-id order-17 --input @input.json
  evenkeel saga start TASK_RUN --business-id order-17 --input '{\"amount\": 1}' --wait end --timeout 30s
  evenkeel saga start TASK_RUN --business-id order-17 --input @- --wait CREATE_TASK < input.json")]
pub(super) struct Args {
    /// Name of the definition
    #[arg(value_name = "TYPE")]
    saga_type: String,
    /// Business key: the same key is the same saga, for ever
    #[arg(long, value_name = "ID")]
    business_id: String,
    /// Input as JSON, @FILE, or @- for standard input
    #[arg(long, default_value = "{}", value_name = "JSON")]
    input: String,
    /// Waits for the `end`, or for the step of this name
    #[arg(long, value_name = "end|STEP")]
    wait: Option<String>,
    /// Bound of the wait, at most 60s
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration, requires = "wait", value_name = "TIME")]
    timeout: Duration,
}

pub(super) async fn run(mut session: Session, args: Args) -> Result<Code, Failure> {
    let until_end = args.wait.as_deref() == Some("end");
    let until = args.wait.map(|name| {
        if until_end {
            Until::End(true)
        } else {
            Until::Step(name)
        }
    });
    let waits = until.is_some();
    let wait = until.map(|until| WaitUntil {
        until: Some(until),
        timeout: prost_types::Duration::try_from(args.timeout).ok(),
    });
    let request = StartSagaRequest {
        r#type: args.saga_type,
        business_id: args.business_id,
        input: Some(Input::Json(input::json_text(&args.input)?)),
        wait,
    };
    let bound = if waits {
        CALL_TIMEOUT + args.timeout
    } else {
        CALL_TIMEOUT
    };
    let answer = match session.sagas.start_saga(client::request(request, bound)).await {
        Ok(response) => response.into_inner(),
        Err(status) => return Err(session.failure(&status)),
    };
    session.print("evenkeel.saga.v1.StartSagaResponse", &answer, |colour| {
        render::saga::list(answer.saga.as_slice(), Utc::now()).render(colour)
    })?;
    if session.format == Format::Table && !answer.created {
        output::remark("this saga had been started before");
    }
    Ok(verdict(&answer, waits, until_end))
}

fn verdict(answer: &StartSagaResponse, waits: bool, until_end: bool) -> Code {
    if waits && !answer.waited_for_reached {
        output::remark("what was waited for has not been reached yet; follow it with `evenkeel saga watch`");
        return Code::Failed;
    }
    match &answer.saga {
        Some(saga) if until_end => watch::code(saga),
        Some(_) | None => Code::Ok,
    }
}
