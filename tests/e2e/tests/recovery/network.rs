//! The network of one of three orchestrators cut: from the database and the others, and from the participants.

use std::time::{Duration, Instant};

use test_support::eventually;

use e2e::LONG;

use crate::fleet::{Fleet, Reach};
use crate::gate::{Gate, Way};
use crate::journal::{self, Gap};
use crate::lasts;
use crate::load::{self, Load};
use crate::table::Row;

/// The product's own.
const LEASE: Duration = Duration::from_secs(5);
/// Longer than the lease and a takeover.
const CUT: Duration = Duration::from_secs(11);
/// What a call may take to leave after the instant at which it was decided on.
const SLACK: Duration = Duration::from_secs(1);
/// Exit code of an instance that was taken over.
const FENCED: i32 = 70;
/// Times that each network is cut.
const CUTS: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orchestrator_cut_off_from_the_database_stops_acting_and_comes_back_after_its_restart() {
    let _machine = crate::beside_others().await;
    let mut fleet = Fleet::start(Reach::Gated).await;
    let load = Load::start(&fleet).await;
    let (mut cut, mut back) = (Vec::new(), Vec::new());
    for way in [Way::Silent, Way::Closed].into_iter().cycle().take(CUTS) {
        let victim = fleet.busy().await;
        let name = fleet.replicas[victim].name().to_owned();
        let (at, clock) = (journal::now(), Instant::now());
        fleet.replicas[victim].island(way);
        let db = fleet.platform.sql();
        let left = journal::unfinished(db, &name).await;
        eventually(LONG, || journal::all_went_on(db, &left, at)).await;
        lasts(clock, CUT).await;
        let calls = fleet.replicas[victim].participants().filter_map(Gate::last_call);
        let last = calls
            .max()
            .expect("it made calls")
            .saturating_duration_since(clock);
        assert!(
            last <= LEASE + SLACK,
            "{name} made a call {last:?} after it was cut off"
        );

        let healed = journal::now();
        fleet.replicas[victim].island(Way::Open);
        let process = fleet.replicas[victim].process();
        let status = process.wait(LONG).await;
        assert_eq!(status.code(), Some(FENCED), "{:?}", process.stderr());
        // As its supervisor does.
        fleet.start_replica(victim).await;
        load.watch(&fleet);
        back.push(Duration::from_secs_f64(journal::now() - healed));
        cut.push((at, left));
        // The callers of another one that ends now are its callers then.
        let other = (victim + 1) % fleet.replicas.len();
        fleet.end(other).await;
        let db = fleet.platform.sql();
        eventually(LONG, || journal::has_started(db, &name, healed)).await;
        fleet.start_replica(other).await;
        load.watch(&fleet);
    }
    let starts = load.settle(&fleet).await;
    let mut gaps = Vec::new();
    for (at, sagas) in &cut {
        let of_this = journal::gaps(fleet.platform.sql(), sagas, *at).await;
        gaps.extend(of_this.iter().map(Gap::whole));
    }
    Row {
        fault: "one of three orchestrators cut off from Postgres and its peers",
        from_to: "last event of a saga before, first one after",
        times: gaps,
        noted: format!("{CUTS} cuts of {} s; {}", CUT.as_secs(), load::told(&starts)),
    }
    .tell();
    Row {
        fault: "the same, healed: it ends with code 70 and is started again",
        from_to: "network back, the new process is ready",
        times: back,
        noted: "no call later than 1 s after its lease".to_owned(),
    }
    .tell();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orchestrator_cut_off_from_participants_keeps_its_sagas_and_goes_on() {
    let _machine = crate::beside_others().await;
    let fleet = Fleet::start(Reach::Gated).await;
    let load = Load::start(&fleet).await;
    let db = fleet.platform.sql();
    let (mut cut, mut times) = (Vec::new(), Vec::new());
    for _ in 0..CUTS {
        let victim = fleet.busy().await;
        let replica = &fleet.replicas[victim];
        let clock = Instant::now();
        // Silently: calls that are answered by a broken connection would use up the retries of their steps.
        replica.participants().for_each(|gate| gate.set(Way::Silent));
        let epoch = journal::epoch(db, replica.name()).await;
        lasts(clock, LEASE + SLACK).await;
        let left = journal::unfinished(db, replica.name()).await;
        let healed = journal::now();
        replica.participants().for_each(|gate| gate.set(Way::Open));
        eventually(LONG, || journal::all_went_on(db, &left, healed)).await;
        assert_eq!(
            journal::epoch(db, replica.name()).await,
            epoch,
            "it was taken over"
        );
        cut.push((healed, left));
    }
    let starts = load.settle(&fleet).await;
    for (healed, sagas) in &cut {
        times.extend(
            journal::gaps(db, sagas, *healed)
                .await
                .iter()
                .map(|gap| gap.after),
        );
    }
    Row {
        fault: "one of three orchestrators cut off from all participants",
        from_to: "network back, first event of a saga",
        times,
        noted: format!(
            "{CUTS} cuts of {} s; {}",
            (LEASE + SLACK).as_secs(),
            load::told(&starts)
        ),
    }
    .tell();
}
