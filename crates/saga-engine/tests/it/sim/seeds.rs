//! Many seeds, one seed again, and that the simulation notices what is broken.

use std::panic::{AssertUnwindSafe, catch_unwind};

use saga_core::Phase;

use super::Sim;
use super::broken::Broken;
use crate::recorder::Metrics;

/// Seeds of a run of all tests; `make sim SEEDS=n` for more.
const SEEDS: u64 = 2_000;
/// Threads that share them.
const THREADS: u64 = 2;

/// What came of stories.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    takeovers: u32,
    completed: u32,
    compensated: u32,
    resolved: u32,
    /// Operators whose command was obeyed.
    obeyed: u32,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.takeovers += other.takeovers;
        self.completed += other.completed;
        self.compensated += other.compensated;
        self.resolved += other.resolved;
        self.obeyed += other.obeyed;
    }
}

/// Tells the story of a seed. An error says what was wrong; the lines say what happened.
fn tell(seed: u64, broken: Option<Broken>) -> (Result<Tally, String>, Vec<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let metrics = Metrics::default();
    let mut trace = None;
    let story = async {
        let mut sim = Sim::new(seed, broken);
        trace = Some(sim.trace.clone());
        sim.run().await?;
        let obeyed = sim.check_people().await?;
        if metrics.series().iter().any(|series| series.contains("type=SIM")) && metrics.imbalance("SIM") != 0
        {
            return Err("what was started is not what has ended and what is active".to_owned());
        }
        let disk = sim.disk.lock().unwrap();
        let phases = |phase| {
            disk.sagas
                .values()
                .filter(|stored| stored.row.phase == phase)
                .count()
        };
        let count = |phase| u32::try_from(phases(phase)).unwrap();
        Ok(Tally {
            takeovers: disk.takeovers,
            completed: count(Phase::Completed),
            compensated: count(Phase::Compensated),
            resolved: count(Phase::Resolved),
            obeyed,
        })
    };
    let told = catch_unwind(AssertUnwindSafe(|| {
        metrics::with_local_recorder(&metrics, || runtime.block_on(story))
    }));
    let result = told.unwrap_or_else(|_| Err("a panic".to_owned()));
    (result, trace.map(|trace| trace.lines()).unwrap_or_default())
}

/// Tells these stories on some threads; the first that goes wrong ends it, with the command that tells it again.
fn tell_all(seeds: u64) -> Tally {
    let one = |thread: u64| {
        let mut tally = Tally::default();
        for seed in (thread..seeds).step_by(usize::try_from(THREADS).unwrap()) {
            match tell(seed, None).0 {
                Ok(more) => tally.add(more),
                Err(wrong) => panic!("{wrong}\nAgain, with what happened: make sim SEED={seed}"),
            }
        }
        tally
    };
    let mut tally = Tally::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| scope.spawn(move || one(thread)))
            .collect();
        for thread in threads {
            tally.add(
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            );
        }
    });
    tally
}

#[test]
fn whatever_goes_wrong_every_saga_ends_with_the_effects_of_its_phase() {
    if let Ok(seed) = std::env::var("SAGA_SIM_SEED") {
        let (result, lines) = tell(seed.parse().unwrap(), None);
        println!("{}", lines.join("\n"));
        println!("{:?}", result.unwrap());
        return;
    }
    let seeds = std::env::var("SAGA_SIM_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let tally = tell_all(seeds);
    println!("{seeds} seeds: {tally:?}");
    if seeds >= 200 {
        assert!(tally.takeovers > 20, "{tally:?}");
        assert!(tally.compensated > 100 && tally.completed > 100, "{tally:?}");
        assert!(tally.resolved > 5 && tally.obeyed > 200, "{tally:?}");
    }
}

#[test]
fn a_seed_tells_the_same_story_again() {
    for seed in 0..20 {
        let (first, second) = (tell(seed, None).1, tell(seed, None).1);
        let differs = first.iter().zip(&second).find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.len(), second.len(), "seed {seed}");
    }
}

/// Which predicate fails without which rule, within a few seeds.
const BITES: &[(Broken, &str)] = &[
    (Broken::RepeatedActionRunsAgain, "no_effect_is_doubled"),
    (
        Broken::NullCompensationLeavesNoRow,
        "compensated_means_no_effect_is_left",
    ),
    (Broken::LateActionRuns, "compensated_means_no_effect_is_left"),
    (Broken::RefusalIsNotStored, "compensated_means_no_effect_is_left"),
    (Broken::LostWriteIsDurable, "events_are_written_in_order_and_once"),
    (Broken::NothingIsFenced, "only_the_owner_writes"),
];

#[test]
fn without_a_rule_some_seed_breaks_a_predicate() {
    const FEW: u64 = 300;
    for (broken, predicate) in BITES {
        let wrong = |seed| tell(seed, Some(*broken)).0.err();
        let found = (0..FEW).find(|seed| wrong(*seed).is_some_and(|wrong| wrong.starts_with(predicate)));
        println!("{broken:?}: {predicate}, seed {found:?}");
        assert!(found.is_some(), "{broken:?} is not noticed in {FEW} seeds");
    }
}
