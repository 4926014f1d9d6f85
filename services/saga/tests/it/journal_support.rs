//! A journal on a database of its own, and sagas that are driven by hand.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use ids::SagaId;
use saga::journal::{Config, PgJournal, ResolveError, Resolved, Resolver};
use saga_core::{
    Backoff, Command, Context, Epilogue, Event, Input, Millis, OpKey, Outcome, Payload, Plan, Start, State,
    StepError, StepPlan, Zone,
};
use saga_engine::{DefinitionId, Entry, Fate, Identity, Journal, NewSaga, Row, Transition};
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use test_support::TestDatabase;

static MIGRATOR: Migrator = sqlx::migrate!("../../migrations/saga");

/// Machine time of every saga here.
pub(crate) const DEADLINE_MS: u64 = 60_000;
/// When sagas here start.
pub(crate) const START: Millis = Millis(1_790_000_000_000);
/// Longest wait for anything.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A database with the schema, and the definitions registered in it.
pub(crate) struct World {
    pub(crate) database: TestDatabase,
    plans: Plans,
}

/// A definition that a test has registered.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    id: i64,
    name: Arc<str>,
    plan: Arc<Plan>,
    expires_ms: Vec<Option<u64>>,
}

/// Knows the definitions that tests register.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plans(HashMap<i64, Known>);

impl Resolver for Plans {
    async fn resolve(&self, definition: DefinitionId, input_json: &str) -> Result<Resolved, ResolveError> {
        let known = self
            .0
            .get(&definition.0)
            .ok_or_else(|| ResolveError::Broken("no such definition".to_owned()))?;
        Ok(Resolved {
            plan: Arc::clone(&known.plan),
            saga_type: Arc::clone(&known.name),
            input: Payload::new(input_json),
            deadline_ms: DEADLINE_MS,
            expires_ms: known.expires_ms.clone(),
        })
    }
}

/// A step of a plan; tests change what they need otherwise.
pub(crate) fn step(name: &str, after: &[u16], zone: Zone, compensated: bool) -> StepPlan {
    StepPlan {
        name: name.into(),
        after: after.to_vec(),
        zone,
        compensated,
        backoff: Backoff::default(),
        compensation_backoff: Backoff::default(),
        timeout_ms: 1_000,
        compensation_timeout_ms: 1_000,
        expires: false,
        probe: false,
        conditional: false,
    }
}

pub(crate) fn epilogue() -> Epilogue {
    Epilogue {
        name: "FINALLY".into(),
        backoff: Backoff::default(),
        timeout_ms: 1_000,
    }
}

/// Four steps in a row: two that are undone, a third as given, then one after the commit point.
fn plan(third: Zone, epilogue: bool) -> Plan {
    let steps = vec![
        step("RESERVE", &[], Zone::Compensatable, true),
        step("CHECK", &[0], Zone::Compensatable, third == Zone::Compensatable),
        step("WORK", &[1], third, third == Zone::Compensatable),
        step("CLOSE", &[2], Zone::Retriable, false),
    ];
    Plan::new(steps, epilogue.then(self::epilogue), 60_000).unwrap()
}

/// Which plan a saga has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Three steps that are undone, a call after the last of it.
    Undoable,
    /// The third step is the pivot, the second is not undone.
    Pivot,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Undoable => "UNDOABLE",
            Self::Pivot => "PIVOT",
        }
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let database = TestDatabase::create(&[("saga", &MIGRATOR)]).await;
        let mut world = Self {
            database,
            plans: Plans::default(),
        };
        for (kind, plan) in [
            (Kind::Undoable, plan(Zone::Compensatable, true)),
            (Kind::Pivot, plan(Zone::Pivot, false)),
        ] {
            world.define(kind.name(), plan, Vec::new()).await;
        }
        world
    }

    /// Registers a definition; only journals that are opened later know it. One whose steps run in a row is stored without
    /// its edges, as definitions were before there were any.
    pub(crate) async fn define(&mut self, name: &str, plan: Plan, expires_ms: Vec<Option<u64>>) -> Known {
        let (names, compensated): (Vec<&str>, Vec<bool>) =
            plan.steps().iter().map(|s| (&*s.name, s.compensated)).unzip();
        let after: Vec<&[u16]> = plan.steps().iter().map(|s| &*s.after).collect();
        let in_a_row = (0..)
            .zip(&after)
            .all(|(i, after): (u16, &&[u16])| match i.checked_sub(1) {
                None => after.is_empty(),
                Some(previous) => **after == [previous],
            });
        let id: i64 = sqlx::query_scalar(
            "insert into saga.definition (
                name, version, revision, active, hash, source, canonical, closure, registered_by, input_type,
                steps, compensated, max_retries, epilogue, after
             )
             values ($1, 1, 1, true, '', '', '', '', 'test', 'test.v1.Input', $2, $3, $4, $5, $6::jsonb)
             returning id",
        )
        .bind(name)
        .bind(&names)
        .bind(&compensated)
        .bind(vec![3; names.len()])
        .bind(plan.epilogue().map(|e| &*e.name))
        .bind((!in_a_row).then(|| serde_json::to_string(&after).unwrap()))
        .fetch_one(self.database.admin())
        .await
        .unwrap();
        let known = Known {
            id,
            name: name.into(),
            plan: Arc::new(plan),
            expires_ms,
        };
        self.plans.0.insert(id, known.clone());
        known
    }

    pub(crate) fn admin(&self) -> &PgPool {
        self.database.admin()
    }

    pub(crate) async fn open(&self, instance: &str) -> PgJournal<Plans> {
        self.open_with(instance, Duration::from_secs(30)).await
    }

    pub(crate) async fn open_with(&self, instance: &str, lease: Duration) -> PgJournal<Plans> {
        let config = Config {
            instance: instance.to_owned(),
            address: format!("http://{instance}"),
            lease,
            lanes: 4,
        };
        let options = self.admin().connect_options();
        PgJournal::open(&options, &config, self.plans.clone())
            .await
            .unwrap()
    }

    pub(crate) fn saga(&self, kind: Kind, business_id: &str) -> Driven {
        self.saga_with(kind, business_id, r#"{"amount": 1}"#)
    }

    pub(crate) fn saga_with(&self, kind: Kind, business_id: &str, input: &str) -> Driven {
        let known = self
            .plans
            .0
            .values()
            .find(|known| &*known.name == kind.name())
            .expect("registered above");
        self.saga_of(known, business_id, input)
    }

    pub(crate) fn saga_of(&self, known: &Known, business_id: &str, input: &str) -> Driven {
        let start = Start {
            at: START,
            deadline_ms: DEADLINE_MS,
            expires_ms: known.expires_ms.clone(),
        };
        let state = State::start(&known.plan, &start);
        let identity = Arc::new(Identity {
            id: SagaId::new(),
            saga_type: Arc::clone(&known.name),
            business_id: business_id.to_owned(),
            definition: DefinitionId(known.id),
            plan: Arc::clone(&known.plan),
            input: Payload::new(input),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            start,
            actor: "tester".to_owned(),
        });
        Driven {
            row: row(&state),
            identity,
            state,
            events: 0,
            at: START,
        }
    }

    /// Reads one number.
    pub(crate) async fn number(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(self.admin()).await.unwrap()
    }
}

/// A saga whose answers the test gives.
#[derive(Debug, Clone)]
pub(crate) struct Driven {
    pub(crate) identity: Arc<Identity>,
    pub(crate) state: State,
    pub(crate) events: u32,
    pub(crate) at: Millis,
    row: Row,
}

fn row(state: &State) -> Row {
    Row {
        phase: state.phase(),
        reason: state.reason(),
        failed_step: state.failed_step(),
        error: state.error().cloned(),
        committed: state.committed(),
        clock: state.clock(),
        attention: state.attention().collect(),
    }
}

pub(crate) fn error(message: &str) -> StepError {
    StepError {
        code: "UNAVAILABLE".into(),
        reason: "NO_LUCK".into(),
        domain: "test".into(),
        message: message.into(),
    }
}

impl Driven {
    pub(crate) fn id(&self) -> SagaId {
        self.identity.id
    }

    /// The transition that creates the saga. The digest stands for the input.
    pub(crate) fn start(&self) -> Transition {
        let mut input_digest = [0; 32];
        for (to, from) in input_digest.iter_mut().zip(self.identity.input.json().bytes()) {
            *to = from;
        }
        Transition {
            identity: Arc::clone(&self.identity),
            start: Some(NewSaga {
                identity: Arc::clone(&self.identity),
                input_digest,
            }),
            first_seq: 0,
            entries: Vec::new(),
            row: Some(self.row.clone()),
            at: START,
            progressed: false,
        }
    }

    /// The transition that an input makes; none if it changes nothing.
    pub(crate) fn handle(&mut self, input: Input, in_flight: &[OpKey], jitter: u32) -> Option<Transition> {
        let context = Context {
            at: self.at,
            jitter,
            in_flight,
        };
        let plan = Arc::clone(&self.identity.plan);
        let recorded = self.state.handle(&plan, context, input).ok()?;
        if recorded.is_empty() {
            return None;
        }
        let first_seq = self.events;
        let entries: Vec<Entry> = recorded
            .into_iter()
            .filter(|r| !matches!(r.event, Event::Ended { .. }))
            .map(|recorded| {
                let ended_attempt = matches!(
                    recorded.event,
                    Event::Succeeded { .. }
                        | Event::Refused { .. }
                        | Event::Failed { .. }
                        | Event::Pending { .. }
                );
                Entry {
                    recorded,
                    request: ended_attempt.then(|| Payload::new(r#"{"request": true}"#)),
                    duration_ms: ended_attempt.then_some(7),
                }
            })
            .collect();
        self.events += u32::try_from(entries.len()).unwrap();
        let row = row(&self.state);
        let changed = (row != self.row).then(|| row.clone());
        self.row = row;
        Some(Transition {
            identity: Arc::clone(&self.identity),
            start: None,
            first_seq,
            entries,
            row: changed,
            at: self.at,
            progressed: false,
        })
    }

    /// The transition that an answer to the first due operation makes.
    pub(crate) fn answer(&mut self, outcome: Outcome) -> Transition {
        let due = self
            .state
            .due(&self.identity.plan)
            .next()
            .expect("something is due");
        let input = Input::Replied {
            key: due.key,
            attempt: due.attempt,
            outcome,
        };
        self.handle(input, &[], 0).expect("the answer is news")
    }

    /// The transition that an operator's command makes.
    pub(crate) fn command(&mut self, command: Command) -> Transition {
        let input = Input::Operator {
            actor: "ann".into(),
            note: "because".into(),
            evidence: "ticket 7".into(),
            command,
        };
        self.handle(input, &[], 0).expect("the command is allowed")
    }

    pub(crate) fn succeed(&mut self) -> Transition {
        self.answer(Outcome::Succeeded(Payload::new(r#"{"reply": true}"#)))
    }
}

/// Writes transitions that must become durable.
pub(crate) async fn write(journal: &impl Journal, batch: Vec<Transition>) {
    let count = batch.len();
    let fates = journal.append(0, &batch).await.unwrap();
    assert_eq!(fates, vec![Fate::Durable; count]);
}

/// Drives a saga to its end by success.
pub(crate) async fn complete(journal: &impl Journal, saga: &mut Driven) {
    while !saga.state.phase().is_ended() {
        let transition = saga.succeed();
        write(journal, vec![transition]).await;
    }
}

/// A small generator of numbers that repeat with the seed, for walks whose failure can be run again.
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }
}

/// Looks again and again, every 5 ms, until `look` says that it is done.
pub(crate) async fn until(mut look: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !look().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, looking)
        .await
        .expect("it happens soon");
}
