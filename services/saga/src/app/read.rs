//! Sagas as the journal holds them.

use std::sync::Arc;

use ids::SagaId;
use proto::saga::v1 as pb;
use saga_core::{Event, OpKey, Payload, Phase, Plan, Recorded, State};
use saga_engine::{Entry, Snapshot, Wait};

use crate::app::view::Shown;
use crate::app::{App, Error};
use crate::definitions::{self, Compiled};
use crate::journal::Stored;

/// A saga read from the journal, its state replayed.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) stored: Stored,
    compiled: Arc<Compiled>,
    pub(crate) state: State,
    entries: Vec<Entry>,
    waits: Option<Vec<(OpKey, Wait)>>,
}

impl Found {
    pub(crate) fn plan(&self) -> &Plan {
        self.compiled.plan()
    }

    pub(crate) fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// Takes over what the engine knows of open operations, unless it speaks of another state.
    pub(crate) fn explain(&mut self, snapshot: Snapshot) {
        if snapshot.events == self.stored.event_count {
            self.waits = Some(snapshot.waits);
        }
    }

    /// Tells whether nobody drives it until an operator releases it.
    pub(crate) fn is_parked(&self) -> bool {
        self.stored.quarantined && !self.state.phase().is_ended()
    }

    /// Returns a number that rises with every recorded change, the end included.
    pub(crate) fn version(&self) -> u32 {
        let ended = self.state.phase().is_ended();
        self.stored.event_count.saturating_add(u32::from(ended))
    }

    pub(crate) fn shown(&self) -> Shown<'_> {
        let stored = &self.stored;
        Shown {
            id: stored.id,
            saga_type: &stored.definition.name,
            version: stored.definition.version,
            revision: stored.definition.revision,
            business_id: &stored.business_id,
            input_json: &stored.input,
            created_at: stored.created_at,
            updated_at: stored.updated_at,
            owner: &stored.owner,
            parked: stored.quarantine.as_ref(),
            type_paused: stored.paused,
            waits: self.waits.as_deref(),
            plan: self.compiled.plan(),
            state: &self.state,
            events: stored.event_count,
            entries: &self.entries,
        }
    }
}

pub(crate) fn parse_id(text: &str) -> Result<SagaId, Error> {
    text.parse().map_err(|source| Error::Id {
        field: "saga_id",
        source,
    })
}

impl App {
    /// Reads a saga that must be there.
    pub(crate) async fn read(&self, id: SagaId) -> Result<Found, Error> {
        let stored = self.reader.get(id).await.map_err(Error::Journal)?;
        self.replay(stored.ok_or_else(|| Error::NotFound(id.to_string()))?)
            .await
    }

    /// Reads the saga with a business key.
    pub(crate) async fn read_by_key(&self, saga_type: &str, business_id: &str) -> Result<Found, Error> {
        let stored = self
            .reader
            .find(saga_type, business_id)
            .await
            .map_err(Error::Journal)?;
        let missing = || Error::NotFound(format!("of type {saga_type:?} for {business_id:?}"));
        self.replay(stored.ok_or_else(missing)?).await
    }

    /// Shows what the engine answered.
    pub(crate) async fn show_snapshot(&self, snapshot: &Snapshot) -> Result<pb::Saga, Error> {
        let compiled = self.definitions.compiled(snapshot.identity.definition).await?;
        Ok(Shown::of_snapshot(snapshot, &compiled, &self.instance).render())
    }

    async fn replay(&self, mut stored: Stored) -> Result<Found, Error> {
        let compiled = self.definitions.compiled(stored.definition.id).await?;
        let unreadable = |problem: String| definitions::Error::Damaged {
            id: stored.definition.id,
            problem,
        };
        let (_, start) = compiled
            .load(&stored.input, stored.created_at)
            .map_err(unreadable)?;
        let mut state = State::start(compiled.plan(), &start);
        let entries: Vec<Entry> = std::mem::take(&mut stored.events)
            .into_iter()
            .map(|event| Entry {
                recorded: event.recorded,
                request: event.request.map(Payload::new),
                duration_ms: event.duration_ms,
            })
            .collect();
        for entry in &entries {
            state.apply(compiled.plan(), &entry.recorded);
        }
        if let (Some(at), phase) = (stored.ended_at, stored.row.phase)
            && phase != Phase::Running
        {
            state.apply(compiled.plan(), &Recorded::new(at, None, Event::Ended { phase }));
        }
        Ok(Found {
            stored,
            compiled,
            state,
            entries,
            waits: None,
        })
    }
}
