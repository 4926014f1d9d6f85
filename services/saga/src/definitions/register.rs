//! Registering a definition.

use saga_definition::{Definition, Problem};

use crate::definitions::compiled::recompile;
use crate::definitions::store::{self, New, Stored};
use crate::definitions::{Definitions, Error};
use crate::participants::Targets;

/// Two replicas that register at the same moment may each take a revision number once; more is a defect.
const MAX_ROUNDS: u32 = 10;

/// What registering led to.
#[derive(Debug)]
pub struct Registered {
    /// The revision that holds the definition.
    pub stored: Stored,
    /// False if exactly this was registered before.
    pub created: bool,
}

/// Checks a text against the participants' types, and stores nothing.
///
/// # Errors
/// Every mistake found.
pub fn check(source: &str, targets: &Targets) -> Result<Definition, Vec<Problem>> {
    saga_definition::compile(source, targets.types(), targets.allowed())
}

impl Definitions {
    /// Checks a text as [`check`] does.
    ///
    /// # Errors
    /// Every mistake found.
    pub fn check(&self, source: &str) -> Result<Definition, Vec<Problem>> {
        check(source, &self.targets)
    }

    /// Stores a checked definition. The same content is stored once; the same text with types that read and write the
    /// same bytes is a new revision of the version.
    ///
    /// # Errors
    /// `Conflict` if the version is registered with other content; `Database`.
    pub async fn register(
        &self,
        definition: &Definition,
        source: &str,
        actor: &str,
    ) -> Result<Registered, Error> {
        let hash = definition.hash();
        // Text in Postgres cannot hold NUL; where a comment has one, the stored text has none.
        let source = &source.replace('\0', "");
        for _ in 0..MAX_ROUNDS {
            let revisions = store::revisions(&self.pool, definition.name(), definition.version()).await?;
            if let Some(same) = revisions.iter().find(|stored| stored.hash == hash) {
                return Ok(Registered {
                    stored: same.clone(),
                    created: false,
                });
            }
            let revision = match revisions.last() {
                None => 1,
                Some(latest) => {
                    succeeds(definition, latest)?;
                    latest.revision + 1
                }
            };
            let new = New {
                definition,
                hash,
                revision,
                source,
                actor,
            };
            if let Some(stored) = store::insert(&self.pool, &new).await? {
                self.registered.notify_one();
                return Ok(Registered {
                    stored,
                    created: true,
                });
            }
            // Another replica took the number in between.
        }
        Err(Error::Conflict {
            name: definition.name().to_owned(),
            version: definition.version(),
            difference: "others register it at the same moment".to_owned(),
        })
    }
}

fn succeeds(definition: &Definition, latest: &Stored) -> Result<(), Error> {
    let before = recompile(latest)?;
    saga_definition::wire_compatible(&before, definition).map_err(|differences| Error::Conflict {
        name: definition.name().to_owned(),
        version: definition.version(),
        difference: differences.into_iter().next().unwrap_or_default(),
    })
}
