//! Canonical text, closure, hash, and what may become a revision.

use prost_reflect::DescriptorPool;
use saga_definition::{Definition, Participants, compile, wire_compatible};

use crate::lab::{LAB, barrier, good, participants, pool_of, saga};

const SAGA: &str = "saga: LAB
version: 1
input: lab.v1.Inner
deadline: 5m
steps:
  - name: A
    call: lab.v1.LabSteps/Do
    no_compensation: none needed
    with: { id: input.text, tags: [x, input.from], inner: { from: input.inner, allow_default: true }, color: COLOR_RED }
  - name: B
    call: lab.v1.LabSteps/Read
    pivot: true
    timeout: 2s
";

fn with_lab(lab: &str) -> Definition {
    compile(SAGA, &pool_of(lab), &participants()).expect("the saga fits this lab")
}

#[test]
fn comments_layout_and_key_order_do_not_change_the_hash() {
    let other = "# A comment
deadline: 300s   # the same
retry: { factor: 2.0, retries: 3 }
input: \"lab.v1.Inner\"
version: 1
steps:
- no_compensation: 'none needed'
  with:
    color: COLOR_RED
    inner:
      allow_default: true
      from: input.inner
    tags:
      - \"x\"
      - input.from
    id: { from: input.text }
  name: A
  call: lab.v1.LabSteps/Do
- { timeout: 2000ms, name: B, pivot: true, call: lab.v1.LabSteps/Read, after: [A] }
saga: LAB
";
    assert_eq!(good(SAGA).canonical(), good(other).canonical());
    assert_eq!(good(SAGA).hash(), good(other).hash());
}

#[test]
fn the_canonical_text_is_readable() {
    assert_eq!(
        good(SAGA).canonical(),
        concat!(
            r#"{"deadline":"5m","input":"lab.v1.Inner","saga":"LAB","steps":["#,
            r#"{"call":"lab.v1.LabSteps/Do","name":"A","no_compensation":"none needed","#,
            r#""retry":{"factor":2.0,"initial":"200ms","max":"10s","retries":3},"timeout":"10s","#,
            r#""with":{"color":"COLOR_RED","id":{"from":"input.text"},"#,
            r#""inner":{"allow_default":true,"from":"input.inner"},"tags":["x",{"from":"input.from"}]}},"#,
            r#"{"call":"lab.v1.LabSteps/Read","name":"B","pivot":true,"#,
            r#""retry":{"factor":2.0,"initial":"200ms","max":"10s"},"timeout":"2s"}],"version":1}"#
        )
    );
}

#[test]
fn the_canonical_text_is_a_definition_with_itself_as_canonical_text() {
    let first = good(SAGA);
    let again = good(first.canonical());
    assert_eq!(again.canonical(), first.canonical());
    assert_eq!(again.hash(), first.hash());
}

fn hex(hash: [u8; 32]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sagas are stored under these hashes. They change when a message that a definition names gets a field, as `ReserveRequest` and
/// `ConfirmRequest` did; the same version is then registered as another revision, which must be compatible on the wire.
#[test]
fn the_hashes_of_stored_definitions_do_not_change() {
    let task_run = compile(
        include_str!("TASK_RUN.yaml"),
        &proto::descriptor_pool(),
        &Participants::new(["evenkeel"]),
    )
    .unwrap();
    assert_eq!(
        hex(task_run.hash()),
        "e2be6e8f8f6b8dc99babfa6ad8961bf0ca38342715f5249abfd2ad5beaa20a37"
    );
}

#[test]
fn any_change_of_meaning_changes_the_hash() {
    let hash = good(SAGA).hash();
    for (from, to) in [
        ("version: 1", "version: 2"),
        ("deadline: 5m", "deadline: 6m"),
        ("input.text", "input.from"),
        ("COLOR_RED", "COLOR_BLUE"),
        ("timeout: 2s", "timeout: 3s"),
        ("none needed", "no need"),
        ("pivot: true", "retriable: true"),
        ("name: B", "name: C"),
    ] {
        assert!(SAGA.contains(from));
        assert_ne!(good(&SAGA.replace(from, to)).hash(), hash, "{from} -> {to}");
    }
}

#[test]
fn what_the_definition_does_not_use_does_not_change_the_hash() {
    let lab = LAB
        .replace("// Everything a message may hold.", "// Another comment.")
        .replace(
            "message Bystander {",
            "message Stranger { int32 n = 1; }\nmessage Bystander {\n  bool more = 9;",
        )
        .replace(
            "rpc Bare(Other) returns (Other);",
            "rpc Bare(Other) returns (Other);\n  rpc More(Other) returns (Other);",
        );
    assert_eq!(with_lab(&lab).hash(), good(SAGA).hash());
}

#[test]
fn the_order_of_declarations_does_not_change_the_hash() {
    let lab = LAB.replace(
        "  string text = 1;\n  int64 count = 2;\n",
        "  int64 count = 2;\n  string text = 1;\n",
    );
    assert_ne!(lab, LAB);
    assert_eq!(with_lab(&lab).hash(), good(SAGA).hash());
}

#[test]
fn a_change_of_a_used_type_changes_the_hash() {
    for (from, to) in [
        ("int64 count = 2;", "int64 number = 2;"),
        ("int64 count = 2;", "int64 count = 9;"),
        ("COLOR_BLUE = 2;", "COLOR_BLUE = 2; COLOR_GREEN = 3;"),
        ("{barrier: BARRIER_NATURAL}", "{barrier: BARRIER_TRANSACTIONAL}"),
    ] {
        assert!(LAB.contains(from));
        assert_ne!(
            with_lab(&LAB.replace(from, to)).hash(),
            good(SAGA).hash(),
            "{from} -> {to}"
        );
    }
}

#[test]
fn a_stored_definition_checks_again_from_its_closure() {
    let yaml = saga(
        "  - name: A
    call: lab.v1.LabSteps/Do
    compensate: { call: lab.v1.LabSteps/Undo, with: { id: input.id } }
    with: { id: input.id, wait: 5s, labels: input.labels, by_number: { 1: { text: x } }, left: l }
  - name: B
    call: lab.v1.LabSteps/Bare
    unsafe_ack: it only looks
    pivot: true
",
    );
    let first = good(&yaml);
    let stored = DescriptorPool::decode(first.closure().as_slice()).unwrap();
    let again = compile(&yaml, &stored, &first.participants()).unwrap();
    assert_eq!(again.hash(), first.hash());
    assert_eq!(again.closure(), first.closure());
    let barriers = |d: &Definition| d.calls().map(barrier).collect::<Vec<_>>();
    assert_eq!(barriers(&again), barriers(&first));
    assert_eq!(wire_compatible(&first, &again), Ok(()));
    assert!(stored.get_message_by_name("lab.v1.Bystander").is_none());
    assert!(
        stored
            .get_message_by_name("google.protobuf.FileOptions")
            .is_none()
    );
}

#[test]
fn the_longest_participant_prefix_answers() {
    let participants = Participants::new(["lab", "lab.v1", "lab.v1.LabSteps", "lab.v1.Lab", "other"]);
    assert_eq!(participants.resolve("lab.v1.LabSteps"), Some("lab.v1.LabSteps"));
    assert_eq!(participants.resolve("lab.v1.LabService"), Some("lab.v1"));
    assert_eq!(participants.resolve("lab.v2.LabSteps"), Some("lab"));
    assert_eq!(participants.resolve("labyrinth.v1.X"), None);
    assert_eq!(Participants::default().resolve("lab.v1.LabSteps"), None);
}

#[test]
fn added_fields_and_enum_values_make_a_revision() {
    let lab = LAB
        .replace(
            "  Inner inner = 4;\n",
            "  Inner inner = 4;\n  string added = 5;\n  Other also = 6;\n",
        )
        .replace("COLOR_BLUE = 2;", "COLOR_BLUE = 2;\n  COLOR_GREEN = 3;");
    let (old, new) = (good(SAGA), with_lab(&lab));
    assert_ne!(old.hash(), new.hash());
    assert_eq!(wire_compatible(&old, &new), Ok(()));
}

#[test]
fn what_reads_old_bytes_or_names_differently_is_no_revision() {
    for (from, to, difference) in [
        ("int64 count = 2;", "", "field lab.v1.Inner.count = 2 was removed"),
        (
            "int64 count = 2;",
            "int64 number = 2;",
            "field lab.v1.Inner.count = 2 was renamed to number",
        ),
        (
            "int64 count = 2;",
            "string count = 2;",
            "field lab.v1.Inner.count was int64 and is string",
        ),
        (
            "int64 count = 2;",
            "repeated int64 count = 2;",
            "field lab.v1.Inner.count was int64 and is repeated int64",
        ),
        (
            "int64 count = 2;",
            "int64 count = 7;",
            "field lab.v1.Inner.count = 2 was removed",
        ),
        (
            "COLOR_BLUE = 2;",
            "",
            "enum value lab.v1.COLOR_BLUE = 2 was removed",
        ),
        (
            "COLOR_BLUE = 2;",
            "COLOR_BLUE = 5;",
            "enum value lab.v1.COLOR_BLUE was 2 and is 5",
        ),
        (
            "  bool flag = 8;",
            "  oneof o { bool flag = 8; }",
            "field lab.v1.Everything.flag moved into or out of a oneof",
        ),
        (
            "repeated Inner inners",
            "repeated Other inners",
            "field lab.v1.Everything.inners was repeated lab.v1.Inner and is repeated lab.v1.Other",
        ),
        (
            "rpc Read(Other) returns (Inner)",
            "rpc Read(Other) returns (Other)",
            "the reply of /lab.v1.LabSteps/Read was lab.v1.Inner and is lab.v1.Other",
        ),
    ] {
        assert!(LAB.contains(from), "{from}");
        let differences = wire_compatible(&good(SAGA), &with_lab(&LAB.replace(from, to))).unwrap_err();
        assert_eq!(differences, [difference], "{from} -> {to}");
    }
}

#[test]
fn another_definition_is_no_revision() {
    let other = good(&SAGA.replace("timeout: 2s", "timeout: 3s"));
    assert_eq!(
        wire_compatible(&good(SAGA), &other),
        Err(vec![
            "the definition itself differs; it needs a new version".to_owned()
        ])
    );
}
