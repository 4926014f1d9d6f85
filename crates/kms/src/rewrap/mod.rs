//! Re-wraps the fields of a column after the key was changed, while others read and write the table.
//!
//! A walk goes through the rows in the order of their key, in small batches. Each field is re-wrapped outside of any
//! transaction and then put in the place of exactly the bytes that were read, in a statement of its own: no lock is held
//! while the key service is asked, and a writer is never waited for by others because of us. A walk that is dropped,
//! killed or cut off at any line has done what it has done; the next one finds those fields under the current key and
//! leaves them alone.
//!
//! Whoever still seals under the old key may write behind a walk's back. So: first make every process seal under the new
//! key, then walk; a walk whose [`Report::is_clean`] says yes proves that no field needs the old key any more.

mod sql;

use std::fmt;

use futures::{StreamExt, stream};
use sqlx::PgPool;

use self::sql::Row;
use crate::aad::Place;
use crate::envelope;
use crate::error::Error as KeyError;
use crate::keyring::Kms;

/// Rows of a batch. A batch of the largest fields has 6 MiB.
const BATCH: u16 = 100;
/// Fields that are re-wrapped at once: two calls of the key service each, which allows 100 a second.
const AT_ONCE: usize = 8;
/// How often a field is tried that others keep changing.
const TRIES: u32 = 3;
/// Failures that are kept with their rows; the others are counted.
const KEPT_FAILURES: usize = 10;

/// A column with sealed fields. All of it is SQL and comes from code: it is not escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Table with its schema; also [`Place::table`].
    pub table: &'static str,
    /// Column, of type `bytea`; also [`Place::column`].
    pub column: &'static str,
    /// Column or expression that is unique, never null, and indexed: the order of the walk.
    pub key: &'static str,
    /// Expression of [`Place::row`], as text: the key itself, or `'user_' || id` for example.
    pub row: &'static str,
}

/// What a walk has done so far.
#[derive(Debug, Default)]
pub struct Report {
    /// Fields that were looked at.
    pub seen: u64,
    /// Fields that were under the current key already.
    pub current: u64,
    /// Fields that are under another key and open, of a walk that only looks.
    pub old: u64,
    /// Fields that are under the current key now.
    pub rewrapped: u64,
    /// Fields whose row was deleted or emptied meanwhile.
    pub gone: u64,
    /// Fields that others kept changing; the next walk finds them.
    pub raced: u64,
    /// Fields that cannot be opened. They stay as they are, and so must their key.
    pub failed: u64,
    /// The first of those, by the text of their key.
    pub failures: Vec<(String, KeyError)>,
}

impl Report {
    /// Says whether every field that was seen is under the current key.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.old == 0 && self.raced == 0 && self.failed == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seen,
            current,
            old,
            rewrapped,
            gone,
            raced,
            failed,
            failures: _,
        } = self;
        write!(
            f,
            "{seen} seen: {current} current, {old} old, {rewrapped} re-wrapped, {gone} gone, {raced} raced, {failed} failed"
        )
    }
}

/// Why a walk stopped. It may be continued with the same [`Walk`], or begun anew.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database.
    #[error("the database")]
    Database(#[from] sqlx::Error),
    /// The key service is away or refuses: every further field would fail alike.
    #[error("the keys")]
    Keys(#[source] KeyError),
}

/// Tells whether a column has no sealed field.
///
/// # Errors
/// The database.
pub async fn is_empty(pool: &PgPool, column: &Column) -> Result<bool, sqlx::Error> {
    sql::is_empty(pool, column).await
}

/// A walk through one column.
#[derive(Debug)]
pub struct Walk {
    pool: PgPool,
    kms: Kms,
    column: Column,
    batch: u16,
    mode: Mode,
    key_type: Option<String>,
    after: Option<String>,
    is_done: bool,
    report: Report,
}

/// What a walk does with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Rewrap,
    Refresh,
    Look,
}

enum Fate {
    Current,
    Old,
    Rewrapped,
    Gone,
    Raced,
    Failed(KeyError),
}

impl Walk {
    /// Begins at the first row.
    #[must_use]
    pub fn new(pool: PgPool, kms: Kms, column: Column) -> Self {
        Self {
            pool,
            kms,
            column,
            batch: BATCH,
            mode: Mode::Rewrap,
            key_type: None,
            after: None,
            is_done: false,
            report: Report::default(),
        }
    }

    /// Begins after a row, by the text of its key: [`cursor`](Self::cursor) of an earlier walk.
    #[must_use]
    pub fn after(mut self, key: impl Into<String>) -> Self {
        self.after = Some(key.into());
        self
    }

    /// Reads so many rows at once, at least 1; 100 if nothing is said.
    #[must_use]
    pub fn batch(mut self, rows: u16) -> Self {
        self.batch = rows.max(1);
        self
    }

    /// Also [refreshes](Kms::refresh) what is under the current key.
    #[must_use]
    pub const fn refresh(mut self) -> Self {
        self.mode = Mode::Refresh;
        self
    }

    /// Only looks: opens every field, also those under the current key, and writes nothing.
    #[must_use]
    pub const fn look(mut self) -> Self {
        self.mode = Mode::Look;
        self
    }

    /// Returns the key of the last row that is done, as text.
    #[must_use]
    pub fn cursor(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// Returns what was done so far.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// Ends, and returns what was done.
    #[must_use]
    pub fn into_report(self) -> Report {
        self.report
    }

    /// Walks to the end.
    ///
    /// # Errors
    /// The database, or the key service as a whole. What was done stays done.
    pub async fn run(&mut self) -> Result<&Report, Error> {
        while !self.step().await? {}
        Ok(&self.report)
    }

    /// Does one batch; true after the last. A batch that fails or is dropped is done again by the next call; only whole
    /// batches are in the report.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn step(&mut self) -> Result<bool, Error> {
        if self.is_done {
            return Ok(true);
        }
        let key_type = match &self.key_type {
            Some(known) => known.clone(),
            None => sql::key_type(&self.pool, &self.column).await?,
        };
        let current = match self.mode {
            Mode::Rewrap => Some(envelope::prefix(&self.kms.current())),
            Mode::Refresh | Mode::Look => None,
        };
        let rows = sql::next(
            &self.pool,
            &self.column,
            &key_type,
            self.after.as_deref(),
            current.as_deref(),
            self.batch.into(),
        )
        .await?;
        let last = rows.last().map(|row| row.key.clone());
        let is_full = rows.len() == usize::from(self.batch);
        let fates = {
            let fate = |row: Row| {
                let (walk, key_type) = (&*self, key_type.as_str());
                async move {
                    let key = row.key.clone();
                    (key, walk.fate(row, key_type).await)
                }
            };
            let fates: Vec<_> = stream::iter(rows).map(fate).buffered(AT_ONCE).collect().await;
            fates
        };
        let mut done = Vec::with_capacity(fates.len());
        for (key, fate) in fates {
            done.push((key, fate?));
        }
        for (key, fate) in done {
            self.report.count(key, fate);
        }
        self.key_type = Some(key_type);
        self.after = last.or(self.after.take());
        self.is_done = !is_full;
        Ok(self.is_done)
    }

    async fn fate(&self, row: Row, key_type: &str) -> Result<Fate, Error> {
        let Some(mut sealed) = row.sealed else {
            return Ok(Fate::Current);
        };
        let place = Place {
            table: self.column.table,
            column: self.column.column,
            row: row.row.as_deref().unwrap_or_default(),
        };
        for _ in 0..TRIES {
            let outcome = match self.mode {
                Mode::Rewrap => self.kms.rewrap(place, &sealed).await,
                Mode::Refresh => self.kms.refresh(place, &sealed).await,
                Mode::Look => match self.kms.open(place, &sealed).await {
                    Ok(_)
                        if self
                            .kms
                            .key_of(&sealed)
                            .is_ok_and(|key| key == self.kms.current()) =>
                    {
                        Ok(None)
                    }
                    Ok(_) => return Ok(Fate::Old),
                    Err(error) => Err(error),
                },
            };
            let new = match outcome {
                Ok(Some(new)) => new,
                Ok(None) => return Ok(Fate::Current),
                Err(error) if concerns_all(&error) => return Err(Error::Keys(error)),
                Err(error) => return Ok(Fate::Failed(error)),
            };
            if sql::replace(&self.pool, &self.column, key_type, &row.key, &sealed, &new).await? {
                return Ok(Fate::Rewrapped);
            }
            // Somebody has written: theirs counts, and may be under the old key.
            match sql::read(&self.pool, &self.column, key_type, &row.key).await? {
                Some(written) => sealed = written,
                None => return Ok(Fate::Gone),
            }
        }
        Ok(Fate::Raced)
    }
}

/// Says whether every further field would fail alike.
fn concerns_all(error: &KeyError) -> bool {
    match error {
        KeyError::Unavailable(_) | KeyError::Random => true,
        // The key of this field has gone or is disabled; others may have other keys.
        KeyError::Refused(code) => !code.starts_with("ResourceUnavailable"),
        KeyError::NoKey(_) | KeyError::Damaged | KeyError::TooLarge | KeyError::Place => false,
    }
}

impl Report {
    fn count(&mut self, key: String, fate: Fate) {
        self.seen += 1;
        match fate {
            Fate::Current => self.current += 1,
            Fate::Old => self.old += 1,
            Fate::Rewrapped => self.rewrapped += 1,
            Fate::Gone => self.gone += 1,
            Fate::Raced => self.raced += 1,
            Fate::Failed(error) => {
                self.failed += 1;
                if self.failures.len() < KEPT_FAILURES {
                    self.failures.push((key, error));
                }
            }
        }
    }
}
