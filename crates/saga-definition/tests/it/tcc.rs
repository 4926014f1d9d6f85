//! Try, confirm, cancel.

use saga_definition::builder::{Builder, Call, Step, Try};
use saga_definition::{Definition, Expr, Zone, check};

use crate::lab::{compiled, good, participants, pool, saga};

const HEAD: &str = "saga: LAB
version: 1
input: lab.v1.Everything
deadline: 5m
kind: tcc
tries:
";

const TRIES: &str = "  - name: FREEZE
    try: { call: lab.v1.LabSteps/Do, with: { id: input.id }, retry: { retries: 1 } }
    confirm: { call: lab.v1.LabSteps/Finish, with: { id: steps.FREEZE.id } }
    cancel: { call: lab.v1.LabSteps/Undo, with: { id: { from: steps.FREEZE.id, allow_default: true }, left: saga.reason } }
  - name: HOLD
    when: input.flag
    after: []
    expires: 30m
    probe: { call: lab.v1.LabSteps/Look, with: { text: input.id } }
    try: { call: lab.v1.LabSteps/Do }
    confirm: { call: lab.v1.LabSteps/Finish, with: { id: steps.HOLD.id }, timeout: 3s }
    cancel: { call: lab.v1.LabSteps/Undo }
";

const DECIDE: &str = "decide: { name: TRANSFER, call: lab.v1.LabSteps/Do, with: { id: steps.FREEZE.id }, probe: { call: lab.v1.LabSteps/Look } }
";

/// The same as ordinary steps.
const STEPS: &str = "  - name: FREEZE
    call: lab.v1.LabSteps/Do
    with: { id: input.id }
    retry: { retries: 1 }
    compensate: { call: lab.v1.LabSteps/Undo, with: { id: { from: steps.FREEZE.id, allow_default: true }, left: saga.reason } }
  - name: HOLD
    when: input.flag
    after: []
    expires: 30m
    probe: { call: lab.v1.LabSteps/Look, with: { text: input.id } }
    call: lab.v1.LabSteps/Do
    compensate: { call: lab.v1.LabSteps/Undo }
  - name: TRANSFER
    after: [FREEZE, HOLD]
    call: lab.v1.LabSteps/Do
    with: { id: steps.FREEZE.id }
    probe: { call: lab.v1.LabSteps/Look }
    pivot: true
  - name: FREEZE_CONFIRM
    call: lab.v1.LabSteps/Finish
    with: { id: steps.FREEZE.id }
    retriable: true
  - name: HOLD_CONFIRM
    when: input.flag
    after: [TRANSFER]
    call: lab.v1.LabSteps/Finish
    with: { id: steps.HOLD.id }
    timeout: 3s
    retriable: true
";

fn shape(definition: &Definition) -> Vec<(&str, Zone, Vec<usize>)> {
    let steps = definition.steps().iter();
    steps
        .map(|step| (step.name.as_str(), step.zone, step.after.clone()))
        .collect()
}

#[test]
fn tries_are_undone_by_their_cancels_and_confirmed_behind_the_decision() {
    let tcc = good(&format!("{HEAD}{TRIES}{DECIDE}"));
    assert_eq!(
        shape(&tcc),
        [
            ("FREEZE", Zone::Compensatable, vec![]),
            ("HOLD", Zone::Compensatable, vec![]),
            ("TRANSFER", Zone::Pivot, vec![0, 1]),
            ("FREEZE_CONFIRM", Zone::Retriable, vec![2]),
            ("HOLD_CONFIRM", Zone::Retriable, vec![2]),
        ]
    );
    let names: Vec<_> = tcc
        .steps()
        .iter()
        .map(|step| (step.call.name(), step.compensate.is_some(), step.when.is_some()))
        .collect();
    assert_eq!(names[1], ("/lab.v1.LabSteps/Do", true, true));
    assert_eq!(names[4], ("/lab.v1.LabSteps/Finish", false, true));
}

#[test]
fn without_a_decision_the_confirms_follow_all_tries() {
    let tcc = good(&format!("{HEAD}{TRIES}"));
    assert_eq!(
        shape(&tcc)[2..],
        [
            ("FREEZE_CONFIRM", Zone::Retriable, vec![0, 1]),
            ("HOLD_CONFIRM", Zone::Retriable, vec![0, 1]),
        ]
    );
}

#[test]
fn it_is_one_definition_with_the_steps_it_stands_for() {
    let tcc = good(&format!("{HEAD}{TRIES}{DECIDE}"));
    let steps = good(&saga(STEPS));
    assert_eq!(tcc.canonical(), steps.canonical());
    assert_eq!(tcc.hash(), steps.hash());
    assert_eq!(good(tcc.canonical()).hash(), tcc.hash());
}

#[test]
fn the_builder_gives_the_same_definition() {
    let lab = |method: &str| Call::new(&format!("lab.v1.LabSteps/{method}"));
    let frozen = || Expr::path("steps.FREEZE.id");
    let freeze = Try::new(
        "FREEZE",
        lab("Do")
            .with("id", Expr::path("input.id"))
            .retry(saga_definition::builder::Retry::default().retries(1)),
        lab("Finish").with("id", frozen()),
        lab("Undo")
            .with("id", Expr::path_or_default("steps.FREEZE.id"))
            .with("left", Expr::path("saga.reason")),
    );
    let hold = Try::new(
        "HOLD",
        lab("Do"),
        lab("Finish")
            .with("id", Expr::path("steps.HOLD.id"))
            .timeout_ms(3_000),
        lab("Undo"),
    )
    .when(Expr::path("input.flag"))
    .after([])
    .expires_ms(1_800_000)
    .probe(lab("Look").with("text", Expr::path("input.id")));
    let transfer = Step::new("TRANSFER", lab("Do").with("id", frozen())).probe(lab("Look"));
    let source = Builder::new("LAB", 1, "lab.v1.Everything")
        .deadline_ms(300_000)
        .tcc([freeze, hold], Some(transfer))
        .build();
    let built = check(&source, &pool(), &participants()).unwrap();
    assert_eq!(
        built.canonical(),
        good(&format!("{HEAD}{TRIES}{DECIDE}")).canonical()
    );
}

#[test]
fn a_mistake_is_reported_where_it_stands_and_once() {
    let reported = |yaml: &str| -> Vec<String> {
        compiled(yaml)
            .unwrap_err()
            .iter()
            .map(|p| p.in_file("LAB.yaml"))
            .collect()
    };
    let yaml = format!("{HEAD}{TRIES}{DECIDE}");
    for (from, to, lines) in [
        (
            "with: { id: steps.FREEZE.id } }\n    cancel",
            "with: { id: steps.FREEZE.i64 }, retry: { retries: 2 } }\n    cancel",
            vec![
                "LAB.yaml:9:58: step FREEZE_CONFIRM, field confirm.with.id: `steps.FREEZE.i64` has another type (expected string, found int64)",
                "LAB.yaml:9:96: step FREEZE_CONFIRM, field confirm.retry.retries: this operation is repeated until it succeeds; only actions before the commit point are limited",
            ],
        ),
        (
            "{ from: steps.FREEZE.id, allow_default: true }",
            "steps.FREEZE.id",
            vec![
                "LAB.yaml:10:55: step FREEZE, field cancel.with.id: `steps.FREEZE.id` is absent if FREEZE has not answered; say what happens then (expected { from: steps.FREEZE.id, allow_default: true })",
            ],
        ),
        (
            "when: input.flag",
            "when: input.id",
            vec![
                "LAB.yaml:12:11: step HOLD, field when: `input.id` is not a bool (expected bool, found string)",
            ],
        ),
        (
            "try: { call: lab.v1.LabSteps/Do }",
            "try: { call: lab.v1.LabSteps/Doo }",
            vec![
                "LAB.yaml:16:18: step HOLD, field try.call: lab.v1.LabSteps has no method `Doo`; did you mean `Do`?",
            ],
        ),
        (
            "name: HOLD",
            "name: FREEZE_CONFIRM",
            vec![
                "LAB.yaml:7:11: step FREEZE_CONFIRM, field name: there is a step `FREEZE_CONFIRM` already",
                "LAB.yaml:17:58: step FREEZE_CONFIRM_CONFIRM, field confirm.with.id: there is no step `HOLD`",
            ],
        ),
        (
            "name: HOLD",
            "name: hold",
            vec![
                "LAB.yaml:11:11: step hold, field name: this is not a name (expected upper-case letters, digits and `_`, a letter first, at most 64, found `hold`)",
                "LAB.yaml:17:58: field confirm.with.id: there is no step `HOLD`; did you mean `hold`?",
            ],
        ),
        (
            "    cancel: { call: lab.v1.LabSteps/Undo }\n",
            "",
            vec!["LAB.yaml:11:5: step HOLD, field cancel: `cancel` is missing"],
        ),
        (
            "    after: []\n",
            "    after: [TRANSFER]\n",
            vec![
                "LAB.yaml:13:12: step HOLD, field after: steps wait for each other: TRANSFER, then HOLD, then TRANSFER",
            ],
        ),
        (
            "name: TRANSFER, ",
            "name: TRANSFER, expires: 5m, ",
            vec!["LAB.yaml:19:27: step TRANSFER, field decide.expires: there is no key `expires` here"],
        ),
        (
            "kind: tcc\n",
            "",
            vec![
                "LAB.yaml:6:3: field tries: `tries` belongs to `kind: tcc`",
                "LAB.yaml:18:9: field decide: `decide` belongs to `kind: tcc`",
            ],
        ),
        (
            "kind: tcc",
            "kind: tccc",
            vec![
                "LAB.yaml:5:7: field kind: there is no such kind of saga (expected saga or tcc, found `tccc`)",
            ],
        ),
    ] {
        assert!(yaml.contains(from), "{from}");
        assert_eq!(reported(&yaml.replacen(from, to, 1)), lines, "{from} -> {to}");
    }
    let long = yaml.replace("HOLD", &"H".repeat(57));
    let reasons: Vec<_> = compiled(&long)
        .unwrap_err()
        .iter()
        .map(|p| (p.line, p.kind.reason()))
        .collect();
    assert_eq!(reasons, [(11, "BAD_NAME")]);
    good(&yaml.replace("HOLD", &"H".repeat(56)));
    assert_eq!(
        reported(&format!(
            "{}{}",
            HEAD.replace("tries:", "steps:"),
            "  - { name: A }\n"
        )),
        ["LAB.yaml:7:3: field steps: `kind: tcc` has `tries` instead of `steps`"]
    );
    assert_eq!(
        reported(&HEAD.replace("tries:", "tries: []")),
        ["LAB.yaml:6:8: field tries: there is nothing to try"]
    );
}
