//! With every rule in force nothing is ever broken.

use std::collections::BTreeSet;

use model::{Scene, check};

/// What the stories of all scenes together have to bring. Without it the check could hold of worlds in which nothing
/// happens.
const WANTED: &[&str] = &[
    "CANCELLED",
    "COMPENSATED",
    "COMPLETED",
    "EXHAUSTED",
    "REFUSED",
    "TIMEOUT",
    "a call that outlives its saga",
    "a compensation",
    "a crash",
    "a deadline after the commit point",
    "a drain",
    "a late action is superseded",
    "a late success",
    "a null compensation",
    "a probe",
    "a probe that denies",
    "a refusal",
    "a refusal without the mark",
    "a replaced owner calls",
    "a replaced owner is fenced",
    "a step left out",
    "a takeover",
    "a token is answered",
    "an action",
    "work in the background",
];

/// Checks every scene with so many more faults, and tells how many states there were.
fn nothing_is_broken(more: u8) -> usize {
    let (mut states, mut seen) = (0, BTreeSet::new());
    for scene in Scene::all(more) {
        let faults = scene.faults();
        let name = scene.name;
        let checked = check(scene, 2);
        println!(
            "{name}, {faults} faults: {} states, depth {}, {:.1?}",
            checked.states, checked.depth, checked.took
        );
        if let Some(finding) = checked.finding {
            panic!("{name}: {finding}");
        }
        states += checked.states;
        seen.extend(checked.seen);
    }
    for wanted in WANTED {
        assert!(seen.contains(wanted), "{wanted} never happened: {seen:?}");
    }
    states
}

/// `MODEL_MORE_FAULTS=1` tells longer stories: `make sim`.
#[test]
fn no_story_with_one_or_two_faults_breaks_anything() {
    let more = std::env::var("MODEL_MORE_FAULTS").map_or(0, |more| more.parse().expect("a number"));
    let states = nothing_is_broken(more);
    println!("{states} states");
    assert!(states > 500_000, "{states} states");
}
