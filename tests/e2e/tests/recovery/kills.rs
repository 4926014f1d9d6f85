//! SIGKILL of one of three orchestrators, again and again.

use std::time::Duration;

use test_support::eventually;

use e2e::LONG;

use crate::fleet::{Fleet, Reach};
use crate::journal;
use crate::load::{self, Load};
use crate::table::{Row, percentile};

const KILLS: usize = 20;
/// Between the last event of a saga before the kill and its first event after it.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(8);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sagas_of_a_killed_orchestrator_go_on_within_eight_seconds() {
    let _machine = crate::alone().await;
    let mut fleet = Fleet::start(Reach::Direct).await;
    let load = Load::start(&fleet).await;
    let mut killed = Vec::new();
    for kill in 0..KILLS {
        let victim = fleet.busy().await;
        fleet.kill(victim);
        let at = journal::now();
        let replica = &mut fleet.replicas[victim];
        let left = journal::unfinished(fleet.platform.sql(), replica.name()).await;
        // As a new pod of a Deployment: under the old name it would go on with these sagas itself.
        replica.orchestrator.instance = format!("saga-{victim}-{kill}");
        fleet.start_replica(victim).await;
        load.watch(&fleet);
        // One fault at a time: all of them have gone on before the next kill.
        eventually(LONG, || journal::all_went_on(fleet.platform.sql(), &left, at)).await;
        killed.push((at, left));
    }
    let starts = load.settle(&fleet).await;
    let db = fleet.platform.sql();
    let (mut gaps, mut since) = (Vec::new(), Vec::new());
    for (at, sagas) in &killed {
        let of_this = journal::gaps(db, sagas, *at).await;
        since.extend(of_this.iter().map(|gap| gap.after));
        gaps.extend(of_this.iter().map(journal::Gap::whole));
    }
    Row {
        fault: "one of three orchestrators killed (`SIGKILL`), from the kill",
        from_to: "kill, first event of a saga after it",
        times: since,
        noted: "the same kills".to_owned(),
    }
    .tell();
    Row {
        fault: "one of three orchestrators killed (`SIGKILL`)",
        from_to: "last event of a saga before, first one after",
        times: gaps.clone(),
        noted: format!("{KILLS} kills; {}", load::told(&starts)),
    }
    .tell();
    let p99 = percentile(&gaps, 99);
    assert!(p99 <= TAKEN_OVER_WITHIN, "p99 is {p99:?}");
}
