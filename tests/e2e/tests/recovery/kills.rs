//! SIGKILL of one of three orchestrators, again and again.

use std::time::Duration;

use test_support::eventually;

use e2e::LONG;

use crate::fleet::{Fleet, Reach};
use crate::journal::{self, Gap};
use crate::load::{self, Load};
use crate::table::{Row, percentile};

const KILLS: usize = 20;
/// Between the last event of a saga before the kill and its first event after it.
const TAKEN_OVER_WITHIN: Duration = Duration::from_secs(8);
/// The same of a saga that was waiting for a call in flight before it unwinds: the timeout of its step, which all steps of
/// TASK_RUN leave at the default, and a second.
const DRAINED_WITHIN: Duration = Duration::from_secs(11);

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
    let mut gaps = Vec::new();
    for (at, sagas) in &killed {
        gaps.extend(journal::gaps(db, sagas, *at).await);
    }
    let (drained, taken_over): (Vec<_>, Vec<_>) = gaps.into_iter().partition(|gap| gap.drains);
    let whole = |gaps: &[Gap]| gaps.iter().map(Gap::whole).collect::<Vec<_>>();
    Row {
        fault: "one of three orchestrators killed (`SIGKILL`), from the kill",
        from_to: "kill, first event of a saga after it",
        times: taken_over.iter().map(|gap| gap.after).collect(),
        noted: "the same kills".to_owned(),
    }
    .tell();
    let longest = whole(&drained).into_iter().max().unwrap_or_default();
    let waited = match drained.len() {
        0 => String::new(),
        count => format!(
            "; {count} more sagas waited for a call in flight before they unwind, at most {:.1} s",
            longest.as_secs_f64()
        ),
    };
    Row {
        fault: "one of three orchestrators killed (`SIGKILL`)",
        from_to: "last event of a saga before, first one after",
        times: whole(&taken_over),
        noted: format!("{KILLS} kills; {}{waited}", load::told(&starts)),
    }
    .tell();
    let p99 = percentile(&whole(&taken_over), 99);
    if p99 > TAKEN_OVER_WITHIN || longest > DRAINED_WITHIN {
        for gap in taken_over
            .iter()
            .chain(&drained)
            .filter(|gap| gap.whole() > TAKEN_OVER_WITHIN)
        {
            eprintln!("{gap:?}\n{}", journal::story(db, gap.saga).await);
        }
        panic!("p99 is {p99:?}, with a call in flight at most {longest:?}");
    }
}
