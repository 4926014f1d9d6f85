//! `evenkeel saga watch`.

use std::time::{Duration, Instant};

use proto::saga::v1::wait_until::Until;
use proto::saga::v1::{GetSagaRequest, GetSagaResponse, Saga, SagaPhase, WaitSagaRequest, WaitUntil};
use tonic::Status;

use super::Session;
use super::show::Which;
use crate::client::{self, CALL_TIMEOUT};
use crate::exit::{Code, Failure};
use crate::output::{self, Format, Tone};
use crate::proto_json;
use crate::render::saga::{Timeline, has_ended, phase_name, state};

/// One wait on the server; shorter than the server's own bound of 60 s, so that a lost server is noticed.
const WAIT: Duration = Duration::from_secs(20);
/// Time the server gets to answer beyond the wait itself.
const MARGIN: Duration = Duration::from_secs(5);
/// Between two tries to reach a server that is away.
const RECONNECT_PAUSE: Duration = Duration::from_millis(300);

/// Follows a saga until it has ended; survives a restart of the server
///
/// Exits with 0 if the saga completed, with 1 if it ended otherwise.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  evenkeel saga watch saga_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b
  evenkeel saga watch --type TASK_RUN --business-id task_01939a3c5e8b7c3f9d2a4b6c8e0f1a2b -o jsonl")]
pub(super) struct Args {
    #[command(flatten)]
    saga: Which,
    /// How long to wait for a server that has gone away
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration, value_name = "TIME")]
    patience: Duration,
}

pub(super) async fn run(mut session: Session, args: Args) -> Result<Code, Failure> {
    let first = session
        .get(args.saga.request(true))
        .await
        .map_err(|status| session.failure(&status))?;
    let mut seen = 0;
    let mut answer = first;
    loop {
        let saga = answer.saga.clone().unwrap_or_default();
        seen = print_news(&session, &answer, &saga, seen)?;
        if has_ended(saga.phase()) {
            return finish(&session, &saga);
        }
        answer = session.next(&saga, args.patience).await?;
    }
}

/// Exit code for how a saga ended.
pub(super) fn code(saga: &Saga) -> Code {
    if saga.phase() == SagaPhase::Completed {
        Code::Ok
    } else {
        Code::Failed
    }
}

fn finish(session: &Session, saga: &Saga) -> Result<Code, Failure> {
    if session.format == Format::Table {
        let mut table = crate::output::Table::plain();
        table.row(vec![saga.saga_id.as_str().into(), state(saga)]);
        output::emit(&table.render(session.colour))?;
    }
    Ok(code(saga))
}

/// Prints the events after number `seen`; returns the last number printed.
fn print_news(session: &Session, answer: &GetSagaResponse, saga: &Saga, seen: u32) -> Result<u32, Failure> {
    let news: Vec<_> = answer
        .history
        .iter()
        .filter(|event| event.seq > seen)
        .cloned()
        .collect();
    let text = match session.format {
        Format::Table => Timeline::of(saga).table(&news).render(session.colour),
        Format::Json | Format::Jsonl => news
            .iter()
            .map(|event| format!("{}\n", proto_json::value("evenkeel.saga.v1.SagaEvent", event)))
            .collect(),
    };
    output::emit(&text)?;
    Ok(news.last().map_or(seen, |event| event.seq))
}

impl Session {
    async fn get(&mut self, request: GetSagaRequest) -> Result<GetSagaResponse, Status> {
        Ok(self
            .sagas
            .get_saga(client::request(request, CALL_TIMEOUT))
            .await?
            .into_inner())
    }

    /// Returns the saga once it has changed. A server that is away is asked again until `patience` has run out.
    async fn next(&mut self, saga: &Saga, patience: Duration) -> Result<GetSagaResponse, Failure> {
        let mut away_since: Option<Instant> = None;
        loop {
            let status = match self.changed(saga).await {
                Ok(answer) => return Ok(answer),
                Err(status) => status,
            };
            let away = *away_since.get_or_insert_with(|| {
                let text = format!(
                    "{} is away in phase {}, waiting",
                    self.url,
                    phase_name(saga.phase())
                );
                output::remark(&Tone::Dim.paint(&text, self.colour));
                Instant::now()
            });
            if !client::is_unreachable(&status) || away.elapsed() > patience {
                return Err(self.failure(&status));
            }
            tokio::time::sleep(RECONNECT_PAUSE).await;
        }
    }

    async fn changed(&mut self, saga: &Saga) -> Result<GetSagaResponse, Status> {
        let wait = WaitUntil {
            until: Some(Until::NewerThan(saga.state_version)),
            timeout: prost_types::Duration::try_from(WAIT).ok(),
        };
        let request = WaitSagaRequest {
            saga_id: saga.saga_id.clone(),
            wait: Some(wait),
        };
        self.sagas
            .wait_saga(client::request(request, WAIT + MARGIN))
            .await?;
        let request = GetSagaRequest {
            saga_id: saga.saga_id.clone(),
            with_history: true,
            ..GetSagaRequest::default()
        };
        self.get(request).await
    }
}
