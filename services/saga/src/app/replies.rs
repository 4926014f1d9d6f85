//! Answers to published requests, which come as events and bring the completion token back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use events::{Bindings, HandlerError, Outcome, Pattern, Received};
use rpc::error::Reason;
use saga_definition::Await;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::app::complete::Said;
use crate::app::{App, Caller, Error};
use crate::definitions;
use crate::participants::TOKEN;

/// Queue of the answers.
pub(crate) const QUEUE: &str = "saga.replies";
/// Definitions read at a time.
const PAGE: u32 = 100;
/// How often definitions that other instances registered are looked for; those of this one are seen at once.
const LOOK: Duration = Duration::from_secs(5);

/// Data of a "no".
#[derive(Debug, Deserialize)]
struct No {
    reason: String,
    #[serde(default)]
    message: String,
}

impl App {
    /// Applies an answer. It may come twice, or after the step was answered another way: then nothing is left to do.
    pub(crate) async fn replied(&self, received: &Received) -> Outcome {
        let caller = Caller {
            actor: received.source.clone(),
            named: true,
            traceparent: received.traceparent.clone(),
            forwarded: false,
            permit: None,
        };
        match self.complete_by_event(&caller, received).await {
            Ok(()) => Ok(()),
            Err(error) => fate(error),
        }
    }

    async fn complete_by_event(&self, caller: &Caller, received: &Received) -> Result<(), Error> {
        let token = received.attributes.get(TOKEN).map(String::as_str);
        let token = token.ok_or_else(|| Error::invalid(TOKEN, "is missing from the event's attributes"))?;
        let (saga, key) = self.tokens.read(token)?;
        let found = self.read(saga).await?;
        let awaits = found
            .compiled()
            .operation(key)
            .and_then(|operation| operation.awaits());
        let said = match awaits {
            Some(Await::Reply { routing_key, .. }) if *routing_key == received.topic => {
                Said::Json(received.data.to_string())
            }
            Some(Await::Reply {
                failed: Some(failed), ..
            }) if *failed == received.topic => {
                let no: No = serde_json::from_value(received.data.clone()).map_err(|error| {
                    Error::invalid("data", format!("is not {{reason, message}}: {error}"))
                })?;
                Said::failed(&no.reason, &no.message)?
            }
            Some(Await::Reply { .. } | Await::Token) | None => {
                let step = found.plan().name(key.step);
                let problem = format!("{step} of {saga} does not await {}", received.topic);
                return Err(Error::invalid("type", problem));
            }
        };
        let done = self.complete_anywhere(caller, token, said).await?;
        tracing::debug!(saga_id = %done.saga, step = done.step, topic = received.topic, "an event answered a step");
        Ok(())
    }

    /// Returns the topics of all answers that sagas may await. Those of versions that are not active any more are among
    /// them: their sagas may still run.
    async fn awaited_topics(&self) -> Result<BTreeSet<Pattern>, definitions::Error> {
        let mut topics = BTreeSet::new();
        let mut after = None;
        loop {
            let page = self.definitions.list("", after.as_ref(), PAGE).await?;
            for stored in &page {
                match self.definitions.compile(stored) {
                    Ok(compiled) => {
                        let keys = compiled.definition().reply_keys();
                        topics.extend(keys.into_iter().filter_map(|key| key.parse().ok()));
                    }
                    Err(error) => {
                        tracing::error!(definition = stored.name, %error, "answers to it cannot be awaited");
                    }
                }
            }
            let Some(last) = page.last().filter(|_| page.len() == PAGE as usize) else {
                return Ok(topics);
            };
            after = Some(definitions::PageKey {
                name: last.name.clone(),
                version: last.version,
                revision: last.revision,
            });
        }
    }
}

/// Keeps the queue of answers bound to what registered definitions await, until the token is cancelled.
pub(crate) async fn follow(app: Arc<App>, bindings: Bindings, stop: CancellationToken) {
    let mut seen = None;
    loop {
        match app.definitions.census().await {
            Ok(census) if seen == Some(census) => {}
            Ok(census) => match app.awaited_topics().await {
                Ok(topics) => {
                    bindings.set(topics);
                    seen = Some(census);
                }
                Err(error) => tracing::warn!(%error, "the answers that definitions await are not known yet"),
            },
            Err(error) => tracing::debug!(%error, "definitions cannot be counted now"),
        }
        let look = tokio::time::timeout(LOOK, app.definitions.registered());
        if stop.run_until_cancelled(look).await.is_none() {
            return;
        }
    }
}

/// Says what becomes of an event that was not applied.
fn fate(error: Error) -> Outcome {
    let text = error.to_string();
    // It may take days until somebody releases it, and a message that is tried again keeps its place in our hands: a few
    // of them would hold up the answers to everybody else. Nothing is lost: the step asks again once it is driven.
    if let Error::Parked(_) = error {
        return Err(HandlerError::Dead(text));
    }
    let status = Status::from(error);
    let reason = rpc::error::info(&status)
        .map(|info| info.reason)
        .unwrap_or_default();
    let is = |known: &[Reason]| known.iter().any(|known| known.name() == reason);
    if is(&[Reason::StepAnswered, Reason::StepGivenUp, Reason::SagaEnded]) {
        tracing::info!(reason, "an event answers a step that waits no more: {text}");
        return Ok(());
    }
    if is(&[Reason::Unavailable, Reason::Overloaded]) {
        return Err(HandlerError::Unavailable(text));
    }
    if is(&[Reason::Internal, Reason::StepNotWaiting]) {
        return Err(HandlerError::Retry(text));
    }
    Err(HandlerError::Dead(format!("{reason}: {text}")))
}

#[cfg(test)]
mod tests {
    use ids::SagaId;
    use saga_core::Phase;

    use super::*;

    #[test]
    fn what_can_never_be_applied_is_dead_and_what_came_late_is_done() {
        let (saga, step) = (SagaId::new(), "TWO".to_owned());
        let phase = Phase::Completed;
        assert_eq!(fate(Error::Ended { saga, phase }), Ok(()));
        assert_eq!(
            fate(Error::Answered {
                saga,
                step: step.clone()
            }),
            Ok(())
        );
        let noted = true;
        assert_eq!(
            fate(Error::GivenUp {
                saga,
                step: step.clone(),
                noted
            }),
            Ok(())
        );
        assert!(matches!(
            fate(Error::NotWaiting { saga, step }),
            Err(HandlerError::Retry(_))
        ));
        assert!(matches!(
            fate(Error::OwnerAway(saga)),
            Err(HandlerError::Unavailable(_))
        ));
        assert!(matches!(fate(Error::AskAgain), Err(HandlerError::Unavailable(_))));
        assert!(matches!(fate(Error::Parked(saga)), Err(HandlerError::Dead(_))));
        let Err(HandlerError::Dead(why)) = fate(Error::Token(crate::tokens::Invalid)) else {
            panic!("a wrong token is tried again");
        };
        assert!(why.starts_with("COMPLETION_TOKEN_INVALID: "), "{why}");
        assert!(matches!(
            fate(Error::invalid("json", "field payload")),
            Err(HandlerError::Dead(_))
        ));
        let owner = Reason::StepAnswered.status(crate::DOMAIN, "answered");
        assert_eq!(fate(Error::Owner(Box::new(owner))), Ok(()));
    }
}
