//! Registered definitions: stored, activated, compiled.
//!
//! A registered revision never changes, so a compiled one is kept for as long as the process lives. Which revision is
//! active can change at any time, here or in another replica; it is looked up at most once a second per name.

mod compiled;
mod register;
mod resolve;
mod store;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use saga_core::OpKey;
use saga_engine::{DefinitionId, Participant, ParticipantId};
use sqlx::PgPool;
use tokio::sync::Notify;

pub use compiled::{Compiled, Operation};
pub(crate) use compiled::{Destination, MAX_STORED_BYTES};
pub use register::{Registered, check};
pub use store::{PageKey, Stored};

use crate::participants::Targets;

/// How old the knowledge about what is active may be. Another replica's change is seen after at most twice this time.
const ACTIVE_FOR: Duration = Duration::from_secs(1);
/// Compiled revisions kept; a busy installation has a few dozen. Above this they are compiled again when needed.
const MAX_COMPILED: usize = 1_000;
/// Longest name of a definition.
const MAX_NAME_BYTES: usize = 64;

/// A definition could not be stored, found or compiled.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is none of this name (and version), or none is active.
    #[error("{0}")]
    NotFound(String),
    /// The version is registered with other content.
    #[error("{name} version {version} is registered with other content; raise the version ({difference})")]
    Conflict {
        /// Name of the definition.
        name: String,
        /// The version.
        version: u32,
        /// The first difference, in words.
        difference: String,
    },
    /// The stored text does not compile, which registering it had made sure of.
    #[error("definition {id:?} does not compile: {problem}")]
    Damaged {
        /// Which.
        id: DefinitionId,
        /// The first problem.
        problem: String,
    },
    /// The database cannot be asked.
    #[error("the definitions cannot be read")]
    Database(#[from] sqlx::Error),
}

/// All definitions, as one replica sees them.
#[derive(Debug)]
pub struct Definitions {
    pool: PgPool,
    targets: Targets,
    attention_wait_ms: u64,
    compiled: RwLock<HashMap<DefinitionId, Arc<Compiled>>>,
    active: Mutex<HashMap<String, Active>>,
    registered: Notify,
}

#[derive(Debug, Clone)]
struct Active {
    looked_up: Instant,
    compiled: Arc<Compiled>,
}

impl Definitions {
    /// Uses the tables in `pool`'s database. `attention_wait_ms` is the least wait between attempts of an operation
    /// that needs attention.
    #[must_use]
    pub fn new(pool: PgPool, targets: Targets, attention_wait_ms: u64) -> Self {
        Self {
            pool,
            targets,
            attention_wait_ms,
            compiled: RwLock::default(),
            active: Mutex::default(),
            registered: Notify::new(),
        }
    }

    /// Returns a registered revision, compiled.
    ///
    /// # Errors
    /// `NotFound`, `Damaged`, `Database`.
    pub async fn compiled(&self, id: DefinitionId) -> Result<Arc<Compiled>, Error> {
        if let Some(known) = self.known(id) {
            return Ok(known);
        }
        let stored = store::by_id(&self.pool, id)
            .await?
            .ok_or_else(|| Error::NotFound(format!("no definition is registered under {id:?}")))?;
        self.compile(&stored)
    }

    /// Returns the revision that new sagas of this name are started with: the latest of the highest active version.
    ///
    /// # Errors
    /// `NotFound` if none is active; `Damaged`, `Database`.
    pub async fn highest_active(&self, name: &str) -> Result<Arc<Compiled>, Error> {
        if !may_be_a_name(name) {
            return Err(Error::NotFound(
                "there is no definition of such a name".to_owned(),
            ));
        }
        if let Some(fresh) = self.fresh(name) {
            return Ok(fresh);
        }
        let Some(id) = store::highest_active(&self.pool, name).await? else {
            self.forget_active(name);
            return Err(Error::NotFound(format!("no version of {name} is active")));
        };
        let compiled = self.compiled(id).await?;
        let active = Active {
            looked_up: Instant::now(),
            compiled: Arc::clone(&compiled),
        };
        self.active
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(name.to_owned(), active);
        Ok(compiled)
    }

    /// Makes the latest revision of a version startable, or takes the version out of use for new sagas.
    ///
    /// # Errors
    /// `NotFound`, `Database`.
    pub async fn activate(&self, name: &str, version: u32, active: bool) -> Result<Stored, Error> {
        if !may_be_a_name(name) {
            return Err(Error::NotFound(
                "there is no definition of such a name".to_owned(),
            ));
        }
        let found = store::activate(&self.pool, name, version, active).await?;
        self.forget_active(name);
        found.ok_or_else(|| Error::NotFound(format!("{name} version {version} is not registered")))
    }

    /// Lists registered revisions by name, version and revision, after `after`.
    ///
    /// # Errors
    /// `Database`.
    pub async fn list(&self, name: &str, after: Option<&PageKey>, limit: u32) -> Result<Vec<Stored>, Error> {
        if !name.is_empty() && !may_be_a_name(name) {
            return Ok(Vec::new());
        }
        Ok(store::list(&self.pool, name, after, limit).await?)
    }

    /// Lists the participants that definitions may call.
    pub(crate) fn participants(&self) -> Vec<Participant> {
        self.targets.participants()
    }

    /// Tells which participant answers an operation or its probe, if the revision is compiled at the moment.
    pub(crate) fn participant(&self, id: DefinitionId, key: OpKey, probe: bool) -> Option<ParticipantId> {
        let compiled = self.known(id)?;
        let operation = if probe {
            compiled.probe(key.step)
        } else {
            compiled.operation(key)
        };
        match &operation?.to {
            Destination::Method { target, .. } => Some(target.as_ref()?.id),
            Destination::Publish { .. } => Some(self.targets.outbox()),
        }
    }

    /// Returns numbers that differ when a revision has been registered in between.
    ///
    /// # Errors
    /// `Database`.
    pub(crate) async fn census(&self) -> Result<(i64, i64), Error> {
        Ok(store::census(&self.pool).await?)
    }

    /// Waits until this instance registers a revision. For one task only.
    pub(crate) async fn registered(&self) {
        self.registered.notified().await;
    }

    /// Compiles a stored revision, unless it is known.
    ///
    /// # Errors
    /// `Damaged`.
    pub fn compile(&self, stored: &Stored) -> Result<Arc<Compiled>, Error> {
        if let Some(known) = self.known(stored.id) {
            return Ok(known);
        }
        let compiled = Arc::new(Compiled::new(stored, &self.targets, self.attention_wait_ms)?);
        let mut all = self.compiled.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX_COMPILED {
            all.clear();
        }
        // Whoever was first wins: messages of two compilations have different descriptors.
        Ok(Arc::clone(all.entry(stored.id).or_insert(compiled)))
    }

    fn known(&self, id: DefinitionId) -> Option<Arc<Compiled>> {
        self.compiled
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&id)
            .cloned()
    }

    /// Of many callers that find the knowledge old one looks again; the others go on with what is known.
    fn fresh(&self, name: &str) -> Option<Arc<Compiled>> {
        let mut all = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let active = all.get_mut(name)?;
        if active.looked_up.elapsed() > ACTIVE_FOR {
            active.looked_up = Instant::now();
            return None;
        }
        Some(Arc::clone(&active.compiled))
    }

    fn forget_active(&self, name: &str) {
        self.active
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(name);
    }
}

/// Keeps text from the database that it could not even compare.
fn may_be_a_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES
        && name
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}
