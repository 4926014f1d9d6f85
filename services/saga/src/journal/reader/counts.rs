//! How many sagas there are.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use saga_core::{Millis, Phase};
use uuid::Uuid;

use super::list::first_id_of;
use super::{ReadError, Reader};
use crate::journal::codec::phase_from;

/// Counts that are asked for again within this time are the same.
const FRESH_FOR: Duration = Duration::from_secs(3);
/// Sagas that were started so long ago are counted for good when they have ended. No id is made with a clock that is
/// behind by more than this.
const SETTLED_AFTER_MS: i64 = 10 * 60 * 1_000;

/// How many sagas of a type there are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TypeCounts {
    /// The type.
    pub saga_type: String,
    /// Going forward.
    pub running: u64,
    /// Unwinding.
    pub compensating: u64,
    /// Ended with success.
    pub completed: u64,
    /// Ended undone.
    pub compensated: u64,
    /// Ended by an operator.
    pub resolved: u64,
    /// Need attention; also counted under their phase.
    pub needs_attention: u64,
    /// FAILED in the view `saga_state`: need attention, or ended by an operator.
    pub failed: u64,
}

impl TypeCounts {
    /// Returns how many there are in all.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.running + self.compensating + self.completed + self.compensated + self.resolved
    }

    fn of_phase(&mut self, phase: Phase) -> &mut u64 {
        match phase {
            Phase::Running => &mut self.running,
            Phase::Compensating => &mut self.compensating,
            Phase::Completed => &mut self.completed,
            Phase::Compensated => &mut self.compensated,
            Phase::Resolved => &mut self.resolved,
        }
    }
}

/// What was counted before. Ended sagas stay as they are, so the old ones are counted once.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counted: Option<(Instant, Vec<TypeCounts>)>,
    /// Every ended saga up to this id is among `ended`, but for those of `open`.
    upto: Uuid,
    ended: HashMap<(String, Phase), u64>,
    /// Sagas up to `upto` that had not ended.
    open: Vec<Uuid>,
}

impl Reader {
    /// Counts sagas by type, by name; types without sagas are left out. Up to 3 s old.
    ///
    /// The first call of a process reads every saga (0.3 s for a million that are in memory); each later one reads the unfinished sagas,
    /// those that need attention, and those started in the last ten minutes or since the call before. Ended sagas that were
    /// dropped since the first call still count.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn counts(&self) -> Result<Vec<TypeCounts>, ReadError> {
        let mut tally = self.tally.lock().await;
        if let Some((at, counts)) = &tally.counted
            && at.elapsed() < FRESH_FOR
        {
            return Ok(counts.clone());
        }
        let counts = self.count(&mut tally).await?;
        tally.counted = Some((Instant::now(), counts.clone()));
        Ok(counts)
    }

    async fn count(&self, tally: &mut Tally) -> Result<Vec<TypeCounts>, ReadError> {
        let now = Millis(chrono::Utc::now().timestamp_millis());
        let horizon = first_id_of(Millis(now.0.saturating_sub(SETTLED_AFTER_MS))).max(tally.upto);
        // One snapshot: what is counted as open in one statement must not be counted as ended in another.
        let mut snapshot = self.pool.begin().await?;
        sqlx::query("set transaction isolation level repeatable read, read only")
            .execute(&mut *snapshot)
            .await?;
        let phases: Vec<(String, String, bool, i64)> = sqlx::query_as(
            "select d.name, c.phase, c.settled, sum(c.count)::int8
             from (
                select definition_id, phase, id <= $2 as settled, count(*) as count
                from saga.instance where id > $1
                group by definition_id, phase, settled
                union all
                select definition_id, phase, true, count(*)
                from saga.instance where id = any ($3)
                group by definition_id, phase
             ) c
             join saga.definition d on d.id = c.definition_id
             group by d.name, c.phase, c.settled",
        )
        .bind(tally.upto)
        .bind(horizon)
        .bind(&tally.open)
        .fetch_all(&mut *snapshot)
        .await?;
        let attention: Vec<(String, bool, i64)> = sqlx::query_as(
            "select d.name, c.resolved, sum(c.count)::int8
             from (
                select definition_id, phase = 'RESOLVED' as resolved, count(*) as count
                from saga.instance where needs_attention
                group by definition_id, resolved
             ) c
             join saga.definition d on d.id = c.definition_id
             group by d.name, c.resolved",
        )
        .fetch_all(&mut *snapshot)
        .await?;
        let open: Vec<Uuid> = sqlx::query_scalar(
            "select id from saga.instance where phase in ('RUNNING', 'COMPENSATING') and id <= $1",
        )
        .bind(horizon)
        .fetch_all(&mut *snapshot)
        .await?;
        snapshot.commit().await?;

        let number = |n: i64| u64::try_from(n).unwrap_or(0);
        let mut recent: Vec<(String, Phase, u64)> = Vec::new();
        for (name, phase, settled, count) in phases {
            let phase = phase_from(&phase)?;
            if settled && phase.is_ended() {
                *tally.ended.entry((name, phase)).or_default() += number(count);
            } else {
                recent.push((name, phase, number(count)));
            }
        }
        (tally.upto, tally.open) = (horizon, open);

        let mut counts: BTreeMap<String, TypeCounts> = BTreeMap::new();
        let ended = tally
            .ended
            .iter()
            .map(|((name, phase), count)| (name.clone(), *phase, *count));
        for (name, phase, count) in recent.into_iter().chain(ended) {
            let of_type = counts.entry(name).or_default();
            *of_type.of_phase(phase) += count;
            if phase == Phase::Resolved {
                of_type.failed += count;
            }
        }
        for (name, resolved, count) in attention {
            let of_type = counts.entry(name).or_default();
            of_type.needs_attention += number(count);
            if !resolved {
                of_type.failed += number(count);
            }
        }
        Ok(counts
            .into_iter()
            .map(|(saga_type, counts)| TypeCounts { saga_type, ..counts })
            .collect())
    }
}
