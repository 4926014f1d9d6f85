//! What operators did, and what they look for.

use ids::SagaId;
use saga::journal::{AuditFilter, Filter, OpenFilter, Operators, Reader, Stored, TypeCounts};
use saga_core::{Command, FailureClass, Input, Millis, Op, OpKey, Outcome, Phase};
use saga_engine::Journal;

use crate::journal_support::{Driven, Kind, START, World, complete, error, write};

fn unknown() -> Outcome {
    Outcome::Failed {
        class: FailureClass::Unknown,
        error: error("slow"),
    }
}

fn ids(sagas: &[Stored]) -> Vec<SagaId> {
    sagas.iter().map(|saga| saga.id).collect()
}

#[tokio::test]
async fn what_operators_did_is_listed_newest_first_in_pages() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let operators = Operators::new(world.admin().clone());
    let (mut one, mut two) = (world.saga(Kind::Pivot, "one"), world.saga(Kind::Undoable, "two"));
    write(&journal, vec![one.start(), two.start()]).await;
    let pauses = vec![one.command(Command::Pause), two.command(Command::Pause)];
    write(&journal, pauses).await;
    (one.at, two.at) = (START.plus(1), START.plus(1));
    let resumes = vec![one.command(Command::Resume), two.command(Command::Resume)];
    write(&journal, resumes).await;
    let paused = operators
        .pause_type("PIVOT", "ann", "a bad rollout")
        .await
        .unwrap();
    assert!(paused.changed && paused.paused.reason == "a bad rollout");
    let again = operators.pause_type("PIVOT", "bob", "me, too").await.unwrap();
    assert!(!again.changed && again.paused == paused.paused);
    assert_eq!(operators.paused_types().await.unwrap(), [paused.paused]);
    assert!(operators.resume_type("PIVOT", "bob", "mended").await.unwrap());
    assert!(!operators.resume_type("PIVOT", "bob", "mended").await.unwrap());
    assert!(operators.paused_types().await.unwrap().is_empty());

    let all = operators.audit(&AuditFilter::default(), 100, None).await.unwrap();
    let actions: Vec<&str> = all.iter().map(|entry| &*entry.action).collect();
    assert_eq!(
        actions,
        ["resume_type", "pause_type", "resume", "resume", "pause", "pause"]
    );
    assert_eq!((&*all[0].actor, &*all[0].reason), ("bob", "mended"));
    assert_eq!(all[2].saga, Some(one.id().max(two.id())));
    assert_eq!((&*all[2].actor, all[2].version), ("ann", Some(1)));
    assert_eq!((&*all[2].reason, &*all[2].evidence), ("because", "ticket 7"));
    let mut paged = Vec::new();
    loop {
        let before = paged.last().map(|entry: &saga::journal::AuditEntry| entry.key);
        let page = operators.audit(&AuditFilter::default(), 1, before).await.unwrap();
        let Some(entry) = page.into_iter().next() else {
            break;
        };
        paged.push(entry);
    }
    assert_eq!(paged, all);

    let count = async |filter: AuditFilter| operators.audit(&filter, 100, None).await.unwrap().len();
    let of_saga = AuditFilter {
        saga: Some(one.id()),
        ..AuditFilter::default()
    };
    assert_eq!(count(of_saga).await, 2);
    let of_type = AuditFilter {
        saga_type: Some("PIVOT".to_owned()),
        ..AuditFilter::default()
    };
    assert_eq!(count(of_type).await, 4);
    let by_bob = AuditFilter {
        actor: Some("bob".to_owned()),
        ..AuditFilter::default()
    };
    assert_eq!(count(by_bob).await, 1);
    let by_nul = AuditFilter {
        actor: Some("\0".to_owned()),
        ..AuditFilter::default()
    };
    assert_eq!(count(by_nul).await, 0);
    let in_sql: Vec<(String, Option<String>, String)> = sqlx::query_as(
        "select action, saga_id, reason from saga.audit order by at desc, saga_uuid desc nulls last",
    )
    .fetch_all(world.admin())
    .await
    .unwrap();
    assert_eq!(in_sql.len(), 6);
    assert_eq!(in_sql[2].1, all[2].saga.map(|saga| saga.to_string()));
}

#[tokio::test]
async fn the_audit_cannot_be_changed() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let mut saga = world.saga(Kind::Pivot, "k");
    write(&journal, vec![saga.start()]).await;
    let transition = saga.command(Command::Pause);
    write(&journal, vec![transition]).await;
    Operators::new(world.admin().clone())
        .pause_type("PIVOT", "ann", "why")
        .await
        .unwrap();
    for sql in [
        "update saga.event set actor = 'nobody' where kind = 'operator'",
        "delete from saga.event",
        "update saga.type_action set actor = 'nobody'",
        "delete from saga.type_action",
        "truncate saga.type_action",
    ] {
        let refused = sqlx::query(sql).execute(world.admin()).await.unwrap_err();
        let code = refused.as_database_error().unwrap().code().unwrap().into_owned();
        assert_eq!(code, "23001", "{sql}: {refused}");
    }
    assert_eq!(world.number("select count(*) from saga.audit").await, 2);
}

#[tokio::test]
async fn a_pause_shows_until_it_ends_or_the_saga_does() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let operators = Operators::new(world.admin().clone());
    let (mut saga, other) = (world.saga(Kind::Pivot, "k"), world.saga(Kind::Undoable, "o"));
    write(&journal, vec![saga.start(), other.start()]).await;
    let paused = "select count(*) from saga_instances where paused";
    let pause = saga.command(Command::Pause);
    write(&journal, vec![pause]).await;
    assert_eq!(world.number(paused).await, 1);
    let resume = saga.command(Command::Resume);
    write(&journal, vec![resume]).await;
    assert_eq!(world.number(paused).await, 0);
    operators.pause_type("UNDOABLE", "ann", "why").await.unwrap();
    assert_eq!(world.number(paused).await, 1);
    operators.resume_type("UNDOABLE", "ann", "why").await.unwrap();
    let pause = saga.command(Command::Pause);
    let end = saga.command(Command::Resolve);
    write(&journal, vec![pause]).await;
    write(&journal, vec![end]).await;
    assert_eq!(world.number(paused).await, 0);
    let state: String = sqlx::query_scalar("select status from saga_state where saga_type = 'PIVOT'")
        .fetch_one(world.admin())
        .await
        .unwrap();
    assert_eq!(state, "FAILED");
}

#[tokio::test]
async fn a_parked_saga_says_why_until_it_ends() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let mut saga = world.saga(Kind::Pivot, "k");
    write(&journal, vec![saga.start()]).await;
    journal
        .quarantine(saga.id(), "index 7 out of bounds".to_owned())
        .await
        .unwrap();
    let reader = Reader::new(world.admin().clone());
    let stored = reader.get(saga.id()).await.unwrap().unwrap();
    assert!(stored.quarantined);
    assert_eq!(stored.quarantine.unwrap().why, "index 7 out of bounds");
    let shown: String = sqlx::query_scalar("select attention from saga_instances where quarantined")
        .fetch_one(world.admin())
        .await
        .unwrap();
    assert!(
        shown.starts_with("QUARANTINED since 20") && shown.ends_with("index 7 out of bounds"),
        "{shown}"
    );
    // Its last write may land after it was parked, and may be its end.
    let end = saga.command(Command::Resolve);
    write(&journal, vec![end]).await;
    let stored = reader.get(saga.id()).await.unwrap().unwrap();
    assert!(!stored.quarantined && stored.quarantine.is_none() && !stored.needs_attention);
}

/// Four unfinished sagas, each in its own kind of trouble, and one that ended after some; by age.
async fn troubled(world: &World, journal: &impl Journal) -> [Driven; 5] {
    let mut sagas = [0, 1, 2, 3, 4].map(|i| world.saga(Kind::Pivot, &format!("k{i}")));
    write(journal, sagas.iter().map(Driven::start).collect()).await;
    let [_untouched, failing, waiting, undone, ended] = &mut sagas;
    for _ in 0..2 {
        let transition = failing.answer(unknown());
        write(journal, vec![transition]).await;
    }
    let failed = waiting.answer(Outcome::Failed {
        class: FailureClass::Unsent,
        error: error("refused connection"),
    });
    write(journal, vec![failed]).await;
    let pending = waiting.answer(Outcome::Pending);
    write(journal, vec![pending]).await;
    let first = undone.succeed();
    write(journal, vec![first]).await;
    let cancelled = undone.handle(
        Input::Cancel {
            actor: "ann".into(),
            note: error("no"),
        },
        &[],
        0,
    );
    write(journal, vec![cancelled.unwrap()]).await;
    let failed = undone.answer(unknown());
    write(journal, vec![failed]).await;
    let failed = ended.answer(unknown());
    write(journal, vec![failed]).await;
    complete(journal, ended).await;
    sagas
}

#[tokio::test]
async fn sagas_are_found_by_what_their_open_operations_do() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let sagas = troubled(&world, &journal).await;
    let [untouched, failing, waiting, undone, _] = &sagas;
    let reader = Reader::new(world.admin().clone());
    let found = async |open: OpenFilter| {
        let filter = Filter {
            open,
            ..Filter::default()
        };
        reader.list(&filter, 50, None).await.unwrap()
    };
    let default = OpenFilter::default;

    let retrying = found(OpenFilter {
        retrying: true,
        ..default()
    })
    .await;
    assert_eq!(ids(&retrying), [undone.id(), failing.id()]);
    let [undoing] = &retrying[0].open[..] else {
        panic!("one is open")
    };
    assert_eq!((&*undoing.name, undoing.op), ("RESERVE", Op::Compensation));
    assert_eq!((undoing.attempts, undoing.pending), (1, false));
    let [called] = &retrying[1].open[..] else {
        panic!("one is open")
    };
    let key = OpKey {
        step: called.step,
        index: called.index,
        op: called.op,
    };
    let open = failing.state.op(key).unwrap().open().unwrap();
    assert_eq!((called.next_at, called.attempts), (open.next_at, 2));
    assert_eq!(called.last_error, open.last_error);
    assert_eq!(called.last_error_class.as_deref(), Some("unknown"));

    let of_class = |class| OpenFilter {
        error_class: Some(class),
        ..default()
    };
    assert_eq!(ids(&found(of_class(FailureClass::Unsent)).await), [waiting.id()]);
    assert!(found(of_class(FailureClass::NotSeen)).await.is_empty());
    let tried = |min_attempts| OpenFilter {
        min_attempts: Some(min_attempts),
        ..default()
    };
    assert_eq!(ids(&found(tried(1)).await).len(), 4);
    assert_eq!(ids(&found(tried(2)).await), [waiting.id(), failing.id()]);
    let at_step = |step: &str| OpenFilter {
        step: Some(step.to_owned()),
        ..default()
    };
    let reserve = found(at_step("RESERVE")).await;
    assert_eq!(
        ids(&reserve),
        [undone.id(), waiting.id(), failing.id(), untouched.id()]
    );
    assert!(found(at_step("CHECK")).await.is_empty());
    assert!(found(at_step("\0")).await.is_empty());
    let all = OpenFilter {
        step: Some("RESERVE".to_owned()),
        error_class: Some(FailureClass::Unknown),
        min_attempts: Some(2),
        retrying: true,
    };
    assert_eq!(ids(&found(all).await), [failing.id()]);
}

#[tokio::test]
async fn a_filtered_list_has_pages_and_an_age() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let sagas = troubled(&world, &journal).await;
    let reader = Reader::new(world.admin().clone());
    let filter = Filter {
        open: OpenFilter {
            step: Some("RESERVE".to_owned()),
            ..OpenFilter::default()
        },
        ..Filter::default()
    };
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = reader.list(&filter, 1, before).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        all.push(last.id);
    }
    let mut expected: Vec<SagaId> = sagas[..4].iter().map(Driven::id).collect();
    expected.reverse();
    assert_eq!(all, expected);

    // Ids are made by the clock of this test; starts here are all at the same instant, in its past.
    let older = async |started_by| {
        let filter = Filter {
            started_by: Some(started_by),
            ..Filter::default()
        };
        reader.list(&filter, 50, None).await.unwrap().len()
    };
    let now = Millis(chrono::Utc::now().timestamp_millis());
    assert_eq!(older(now.max(START)).await, 5);
    assert_eq!(older(Millis(START.0.min(now.0) - 60_000)).await, 0);
}

#[tokio::test]
async fn sagas_are_counted_by_type() {
    let world = World::new().await;
    let journal = world.open("a").await;
    let mut sagas = Vec::from(troubled(&world, &journal).await);
    let other = world.saga(Kind::Undoable, "o");
    write(&journal, vec![other.start()]).await;
    journal.quarantine(other.id(), "why".to_owned()).await.unwrap();
    let resolve = sagas[0].command(Command::Resolve);
    write(&journal, vec![resolve]).await;
    let expected = [
        TypeCounts {
            saga_type: "PIVOT".to_owned(),
            running: 2,
            compensating: 1,
            completed: 1,
            resolved: 1,
            failed: 1,
            ..TypeCounts::default()
        },
        TypeCounts {
            saga_type: "UNDOABLE".to_owned(),
            running: 1,
            needs_attention: 1,
            failed: 1,
            ..TypeCounts::default()
        },
    ];
    let reader = Reader::new(world.admin().clone());
    assert_eq!(reader.counts().await.unwrap(), expected);
    assert_eq!(expected[0].total(), 5);
    let in_sql = "select count(*) from saga_state where status = 'FAILED'";
    assert_eq!(world.number(in_sql).await, 2);

    // The same sagas, as if started long ago: those that ended are counted once, the others end later.
    let aged = async |sql: &'static str| sqlx::query(sql).execute(world.admin()).await.unwrap();
    let old = Reader::new(world.admin().clone());
    for table in ["instance", "event"] {
        let column = if table == "instance" { "id" } else { "saga_id" };
        let sql = format!(
            "update saga.{table} set {column} = ('01000000' || substr({column}::text, 9))::uuid
             where {} ",
            if table == "event" {
                "kind <> 'operator'"
            } else {
                "true"
            }
        );
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(world.admin())
            .await
            .unwrap();
    }
    assert_eq!(old.counts().await.unwrap(), expected);
    aged("update saga.instance set phase = 'COMPENSATED', ended_at = now() where phase = 'COMPENSATING'")
        .await;
    let changed = crate::journal_support::until(async || {
        let counts = old.counts().await.unwrap();
        (counts[0].compensating, counts[0].compensated, counts[0].total()) == (0, 1, 5)
    });
    changed.await;
    let again = crate::journal_support::until(async || old.counts().await.unwrap()[0].completed == 1);
    again.await;
}

#[tokio::test]
async fn operators_queries_use_their_indexes() {
    let world = World::new().await;
    let journal = world.open("a").await;
    // Many that have ended, a few that have not: what a scan would cost shows in the planner's choice.
    sqlx::query(
        "insert into saga.instance (
            id, definition_id, created_at, ended_at, format, needs_attention, phase, owner, business_id, actor, input
         )
         select gen_random_uuid(), (select min(id) from saga.definition), now(), now(), 1, false, 'COMPLETED', 'a',
            n::text, 't', '{}'
         from generate_series(1, 20000) n",
    )
    .execute(world.admin())
    .await
    .unwrap();
    sqlx::query(
        "insert into saga.event (saga_id, at, seq, idx, attempt, step, kind, op, reply)
         select i.id, now(), s, 0, 1, s, 'succeeded', 'action', '{}' from saga.instance i, generate_series(0, 3) s",
    )
    .execute(world.admin())
    .await
    .unwrap();
    troubled(&world, &journal).await;
    sqlx::query("analyze").execute(world.admin()).await.unwrap();
    let reader = Reader::new(world.admin().clone());
    let retrying = Filter {
        open: OpenFilter {
            retrying: true,
            ..OpenFilter::default()
        },
        ..Filter::default()
    };
    let running = Filter {
        phases: vec![Phase::Running, Phase::Compensating],
        ..Filter::default()
    };
    let attention = Filter {
        needs_attention: true,
        ..Filter::default()
    };
    for (filter, index) in [
        (retrying.clone(), "instance_unfinished"),
        (retrying, "event_failed"),
        (running, "instance_unfinished"),
        (attention, "instance_attention"),
        (Filter::default(), "instance_pkey"),
    ] {
        let plan = reader.explain_list(&filter, 50).await.unwrap();
        assert!(plan.contains(index), "{filter:?}: {plan}");
        assert!(!plan.contains("Seq Scan on instance"), "{filter:?}: {plan}");
        assert!(!plan.contains("Seq Scan on event"), "{filter:?}: {plan}");
    }
    let plan = async |sql: &'static str| -> String {
        let lines: Vec<String> = sqlx::query_scalar(sql).fetch_all(world.admin()).await.unwrap();
        lines.join("\n")
    };
    let running = plan("explain select * from saga_instances where status = 'RUNNING'").await;
    assert!(running.contains("instance_unfinished"), "{running}");
    let audit = plan(
        "explain select at from saga.event where kind = 'operator' and (at, saga_id, seq) < (now(), gen_random_uuid(), 7)
         order by at desc, saga_id desc, seq desc limit 50",
    )
    .await;
    assert!(
        audit.contains("event_operator") && !audit.contains("Sort"),
        "{audit}"
    );
}
