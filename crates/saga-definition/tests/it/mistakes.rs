//! One test for every kind of mistake: its kind, and the line people read.

use saga_definition::builder::{Builder, Call, Step};
use saga_definition::{
    Expr, MAX_DEPTH, MAX_SOURCE_BYTES, Participants, Problem, ProblemKind, check, compile, parse,
};

use crate::lab::{compiled, one_step, participants, pool, saga};

macro_rules! mistakes {
    ($($test:ident: $kind:ident, $yaml:expr => $line:expr;)+) => {
        $(
            #[test]
            fn $test() {
                assert_eq!(the_problem(&$yaml), (ProblemKind::$kind, $line.to_owned()));
            }
        )+

        const COVERED: &[ProblemKind] = &[$(ProblemKind::$kind),+];
    };
}

/// Expects exactly one problem.
fn the_problem(yaml: &str) -> (ProblemKind, String) {
    let problems = compiled(yaml).expect_err("there is a mistake");
    match problems.as_slice() {
        [problem] => (problem.kind, problem.in_file("LAB.yaml")),
        _ => panic!(
            "expected one problem, found {}:\n{}",
            problems.len(),
            lines(&problems)
        ),
    }
}

fn lines(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|p| format!("{} {}\n", p.kind, p.in_file("LAB.yaml")))
        .collect()
}

/// A saga of one step written on line 6.
fn step(keys: &str) -> String {
    saga(&format!("  - {{ name: A, {keys} }}\n"))
}

fn read(keys: &str) -> String {
    step(&format!("call: lab.v1.LabSteps/Read, {keys}"))
}

/// A pivot A on line 6.
fn publish(keys: &str) -> String {
    step(&format!("{keys}, pivot: true"))
}

/// Steps A, P and Z on lines 6, 7 and 8.
fn steps3(a: &str, p: &str, z: &str) -> String {
    let line =
        |name: &str, keys: &str| format!("  - {{ name: {name}, call: lab.v1.LabSteps/Read, {keys} }}\n");
    saga(&[line("A", a), line("P", p), line("Z", z)].concat())
}

fn head(line: &str, becomes: &str) -> String {
    read("pivot: true").replace(line, becomes)
}

#[test]
fn every_kind_of_mistake_has_a_test() {
    let covered = |kind: &&ProblemKind| COVERED.contains(kind) || **kind == ProblemKind::UnknownParticipant;
    let missing: Vec<_> = ProblemKind::ALL.iter().filter(|kind| !covered(kind)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn reasons_are_unique() {
    let mut reasons: Vec<_> = ProblemKind::ALL.iter().map(|kind| kind.reason()).collect();
    reasons.sort_unstable();
    reasons.dedup();
    assert_eq!(reasons.len(), ProblemKind::ALL.len());
}

mistakes! {
    a_text_that_is_too_large: SourceTooLarge, "#".repeat(MAX_SOURCE_BYTES + 1) => "LAB.yaml:1:1: the definition is too large (expected at most 65536 bytes, found 65537 bytes)";
    a_text_that_is_not_yaml: BadYaml, "saga: [LAB\nversion: 1\n" => "LAB.yaml:2:8: not YAML: illegal placement of ':' indicator";
    values_nested_too_deep: TooDeep, format!("saga: {}", "[".repeat(MAX_DEPTH + 1)) => "LAB.yaml:1:38: values are nested too deep; at most 32 levels are read";
    an_anchor: AnchorNotAllowed, head("saga: LAB", "saga: &name LAB") => "LAB.yaml:1:7: anchors are not allowed; repeat the value";
    a_tag: TagNotAllowed, head("saga: LAB", "saga: !!str LAB") => "LAB.yaml:1:7: tags are not allowed; types come from the fields";
    two_documents: MultipleDocuments, head("saga: LAB", "saga: LAB").to_owned() + "---\nsaga: B\n" => "LAB.yaml:7:1: a second document begins here; one file holds one saga";
    an_empty_text: EmptySource, "# nothing\n" => "LAB.yaml:1:1: there is no definition here";
    a_key_given_twice: DuplicateKey, head("deadline: 5m", "deadline: 5m\ndeadline: 6m") => "LAB.yaml:5:1: field deadline: `deadline` is given twice";
    a_request_field_given_twice: DuplicateKey, one_step("id: a\nid: b") => "LAB.yaml:11:7: field id: `id` is given twice";
    a_key_that_is_no_word: BadKey, head("deadline: 5m", "deadline: 5m\n[a, b]: c") => "LAB.yaml:5:1: a key must be a word";
    a_sequence_for_a_mapping: WrongShape, "[a]" => "LAB.yaml:1:1: this value has the wrong shape (expected a mapping, found a sequence)";
    a_mapping_for_a_scalar: WrongShape, head("input: lab.v1.Everything", "input: { a: b }") => "LAB.yaml:3:8: field input: this value has the wrong shape (expected a scalar, found a mapping)";
    a_scalar_for_steps: WrongShape, head("steps:\n  - { name: A, call: lab.v1.LabSteps/Read, pivot: true }", "steps: none") => "LAB.yaml:5:8: field steps: this value has the wrong shape (expected a sequence, found a scalar)";
    a_misspelt_key: UnknownKey, read("pivto: true, pivot: true") => "LAB.yaml:6:44: step A, field pivto: there is no key `pivto` here; did you mean `pivot`?";
    a_version_that_is_no_number: BadNumber, head("version: 1", "version: one") => "LAB.yaml:2:10: field version: this is not a number of the right form (expected a number, found `one`)";
    a_switch_that_is_no_boolean: BadBoolean, read("pivot: yes, retriable: true") => "LAB.yaml:6:51: step A, field pivot: this must be `true` or `false` (found `yes`)";
    a_deadline_that_cannot_be_read: BadDuration, head("deadline: 5m", "deadline: 5 minutes") => "LAB.yaml:4:11: field deadline: this is not a duration (expected a duration such as 250ms, 10s, 5m, 2h, 1d, or a path, found `5 minutes`)";
    a_deadline_that_is_absent: MissingKey, head("deadline: 5m\n", "") => "LAB.yaml:1:1: field deadline: `deadline` is missing";
    a_call_that_is_absent: MissingKey, step("pivot: true") => "LAB.yaml:6:5: step A, field call: `call` is missing";
    a_step_without_a_name: MissingKey, saga("  - { call: lab.v1.LabSteps/Read, pivot: true }\n") => "LAB.yaml:6:5: field name: `name` is missing";
    a_compensation_and_a_reason_to_have_none: ConflictingKeys, read("no_compensation: why, compensate: { call: lab.v1.LabSteps/Undo }") => "LAB.yaml:6:61: step A, field no_compensation: a step has either a compensation or a reason to have none";
    a_pivot_that_is_retriable: ConflictingKeys, read("pivot: true, retriable: true") => "LAB.yaml:6:68: step A, field retriable: a step is either the pivot or retriable";
    a_saga_name_in_lower_case: BadName, head("saga: LAB", "saga: lab") => "LAB.yaml:1:7: field saga: this is not a name (expected upper-case letters, digits and `_`, a letter first, at most 64, found `lab`)";
    a_step_name_with_a_dash: BadName, read("pivot: true").replace("name: A", "name: A-B") => "LAB.yaml:6:13: step A-B, field name: this is not a name (expected upper-case letters, digits and `_`, a letter first, at most 64, found `A-B`)";
    a_step_with_a_name_of_the_engine: ReservedName, read("pivot: true").replace("name: A", "name: ON_COMPENSATED") => "LAB.yaml:6:13: step ON_COMPENSATED, field name: `ON_COMPENSATED` is a name of the engine's own";
    a_version_of_zero: BadVersion, head("version: 1", "version: 0") => "LAB.yaml:2:10: field version: the version is out of range (expected 1 to 1000000, found 0)";
    too_many_retries: BadRetry, head("deadline: 5m", "deadline: 5m\nretry: { retries: 101 }") => "LAB.yaml:5:19: field retry.retries: too many or too few retries (expected 0 to 100, found 101)";
    a_first_pause_above_the_longest: BadRetry, head("deadline: 5m", "deadline: 5m\nretry: { initial: 11s }") => "LAB.yaml:5:8: field retry: the first pause is longer than the longest (expected initial at most 10s, found 11s)";
    a_factor_below_one: BadRetry, read("pivot: true, retry: { factor: 0.5 }") => "LAB.yaml:6:74: step A, field retry.factor: the factor is out of range (expected 1 to 10, found 0.5)";
    a_deadline_of_a_year: DurationOutOfRange, head("deadline: 5m", "deadline: 365d") => "LAB.yaml:4:11: field deadline: the duration is out of range (expected 1s to 30d, found 365d)";
    a_timeout_of_an_hour: DurationOutOfRange, read("pivot: true, timeout: 1h") => "LAB.yaml:6:66: step A, field timeout: the duration is out of range (expected 1ms to 10m, found 1h)";
    an_explanation_that_says_nothing: EmptyReason, read("no_compensation: ' '") => "LAB.yaml:6:61: step A, field no_compensation: `no_compensation` must say why";
    a_saga_without_steps: NoSteps, head("steps:\n  - { name: A, call: lab.v1.LabSteps/Read, pivot: true }", "steps: []") => "LAB.yaml:5:8: field steps: a saga needs a step";
    too_many_steps: TooManySteps, saga(&(0..101).map(|n| format!("  - {{ name: S{n}, call: lab.v1.LabSteps/Read, retriable: true }}\n")).collect::<String>()) => "LAB.yaml:106:5: field steps: the saga has too many steps (expected at most 100, found 101)";
    two_steps_of_one_name: DuplicateStep, saga("  - { name: A, call: lab.v1.LabSteps/Read, retriable: true }\n  - { name: A, call: lab.v1.LabSteps/Read, retriable: true }\n") => "LAB.yaml:7:13: step A, field name: there is a step `A` already";
    an_input_type_that_does_not_exist: UnknownMessage, head("lab.v1.Everything", "lab.v1.Everythink") => "LAB.yaml:3:8: field input: there is no message `lab.v1.Everythink` among the descriptors; did you mean `lab.v1.Everything`?";
    a_call_without_a_slash: BadMethod, step("call: lab.v1.LabSteps.Read, pivot: true") => "LAB.yaml:6:22: step A, field call: this does not name a method (expected package.Service/Method, found `lab.v1.LabSteps.Read`)";
    a_service_that_does_not_exist: UnknownService, step("call: lab.v1.LabStep/Read, pivot: true") => "LAB.yaml:6:22: step A, field call: there is no service `lab.v1.LabStep` among the descriptors; did you mean `lab.v1.LabSteps`?";
    a_method_that_does_not_exist: UnknownMethod, step("call: lab.v1.LabSteps/Raed, pivot: true") => "LAB.yaml:6:22: step A, field call: lab.v1.LabSteps has no method `Raed`; did you mean `Read`?";
    a_method_that_streams: StreamingMethod, step("call: lab.v1.LabSteps/Stream, pivot: true") => "LAB.yaml:6:22: step A, field call: a step calls a unary method (expected a unary method, found a streaming method)";
    a_method_without_the_option: MissingStepOption, step("call: lab.v1.LabSteps/Bare, pivot: true") => "LAB.yaml:6:22: step A, field call: lab.v1.LabSteps.Bare does not say what makes it safe to repeat (expected option (evenkeel.saga.v1.step) with a barrier, or `unsafe_ack: \"<why>\"`)";
    a_method_that_leaves_the_option_unspecified: MissingStepOption, step("call: lab.v1.LabSteps/Unspecified, pivot: true") => "LAB.yaml:6:22: step A, field call: lab.v1.LabSteps.Unspecified does not say what makes it safe to repeat (expected option (evenkeel.saga.v1.step) with a barrier, or `unsafe_ack: \"<why>\"`)";
    a_text_that_looks_like_a_path: BadPath, one_step("id: input. is text") => "LAB.yaml:10:11: step A, field with.id: this is not a path; text needs quotes (expected names joined by single dots, found `input. is text`)";
    a_path_into_a_list: BadPath, one_step("id: input.tags.first") => "LAB.yaml:10:11: step A, field with.id: `tags` has no fields, so `first` cannot be read from it (expected a message, found repeated string)";
    a_deadline_read_from_a_step: BadPath, head("deadline: 5m", "deadline: steps.A.wait") => "LAB.yaml:4:11: field deadline: before the saga starts there is only its input (expected a path that begins with `input.`, found `steps.A`)";
    a_path_that_is_too_short: BadPath, one_step("id: { from: saga }") => "LAB.yaml:10:11: step A, field with.id: this path leads nowhere (expected input, input.FIELD, steps.STEP, steps.STEP.FIELD or saga.VALUE, found `saga`)";
    a_path_to_a_step_that_does_not_exist: UnknownStep, saga("  - { name: FIRST, call: lab.v1.LabSteps/Read, retriable: true }\n  - { name: B, call: lab.v1.LabSteps/Read, retriable: true, with: { text: steps.FRIST.text } }\n") => "LAB.yaml:7:75: step B, field with.text: there is no step `FRIST`; did you mean `FIRST`?";
    an_after_that_does_not_exist: UnknownStep, read("pivot: true, after: [NO]") => "LAB.yaml:6:65: step A, field after: there is no step `NO`";
    a_misspelt_field: UnknownField, one_step("tgas: []") => "LAB.yaml:10:7: step A, field with.tgas: lab.v1.Everything has no field `tgas`; did you mean `tags`?";
    a_misspelt_field_of_a_nested_message: UnknownField, one_step("inner: { txet: a }") => "LAB.yaml:10:16: step A, field with.inner.txet: lab.v1.Inner has no field `txet`; did you mean `text`?";
    a_misspelt_source: UnknownSourceField, one_step("id: input.ib") => "LAB.yaml:10:11: step A, field with.id: `input.ib`: lab.v1.Everything has no field `ib`; did you mean `id`?";
    a_misspelt_value_of_the_saga: UnknownSagaValue, one_step("id: saga.busines_id") => "LAB.yaml:10:11: step A, field with.id: the saga has no value `busines_id`; did you mean `business_id`? (expected id, business_id, reason, failed_step, error)";
    a_reason_while_the_saga_goes_forward: SagaValueNotAvailable, one_step("id: saga.reason") => "LAB.yaml:10:11: step A, field with.id: `saga.reason` exists only while the saga unwinds (expected saga.id or saga.business_id in an action)";
    a_reply_of_a_later_step: ReplyNotAvailable, saga("  - { name: A, call: lab.v1.LabSteps/Read, retriable: true, with: { text: steps.B.text } }\n  - { name: B, call: lab.v1.LabSteps/Read, retriable: true }\n") => "LAB.yaml:6:75: step A, field with.text: B cannot have run by then (expected a step that comes before this one)";
    a_reply_of_the_step_itself: ReplyNotAvailable, one_step("id: steps.A.id") => "LAB.yaml:10:11: step A, field with.id: A cannot have run by then (expected a step that comes before this one)";
    an_own_reply_in_a_compensation: ReplyMayBeAbsent, read("compensate: { call: lab.v1.LabSteps/Undo, with: { id: steps.A.text } }") => "LAB.yaml:6:98: step A, field compensate.with.id: `steps.A.text` is absent if A has not answered; say what happens then (expected { from: steps.A.text, allow_default: true })";
    a_reply_after_the_last_compensation: ReplyMayBeAbsent, read("no_compensation: reads") + "on_compensated: { call: lab.v1.LabSteps/Undo, with: { id: steps.A.text } }\n" => "LAB.yaml:7:59: field on_compensated.with.id: `steps.A.text` is absent if A has not answered; say what happens then (expected { from: steps.A.text, allow_default: true })";
    an_optional_source: NeedsAllowDefault, one_step("id: input.maybe") => "LAB.yaml:10:11: step A, field with.id: `input.maybe` is absent if `maybe` is not set; say what happens then (expected { from: input.maybe, allow_default: true })";
    a_source_inside_a_message: NeedsAllowDefault, one_step("id: input.inner.text") => "LAB.yaml:10:11: step A, field with.id: `input.inner.text` is absent if `inner` is not set; say what happens then (expected { from: input.inner.text, allow_default: true })";
    a_member_of_a_oneof_as_source: NeedsAllowDefault, one_step("id: input.left") => "LAB.yaml:10:11: step A, field with.id: `input.left` is absent if `left` is not set; say what happens then (expected { from: input.left, allow_default: true })";
    a_number_for_a_text: TypeMismatch, one_step("id: input.i64") => "LAB.yaml:10:11: step A, field with.id: `input.i64` has another type (expected string, found int64)";
    a_text_for_bytes: TypeMismatch, one_step("raw: input.id") => "LAB.yaml:10:12: step A, field with.raw: `input.id` has another type (expected bytes, found string)";
    another_enum: TypeMismatch, one_step("shade: input.color") => "LAB.yaml:10:14: step A, field with.shade: `input.color` has another type (expected enum lab.v1.Shade, found enum lab.v1.Color)";
    another_message: TypeMismatch, one_step("other: { from: input.inner, allow_default: true }") => "LAB.yaml:10:14: step A, field with.other: `input.inner` has another type (expected lab.v1.Other, found lab.v1.Inner)";
    a_list_of_another_element: TypeMismatch, one_step("longs: input.numbers") => "LAB.yaml:10:14: step A, field with.longs: `input.numbers` has another type (expected repeated int64, found repeated int32)";
    an_unquoted_number_for_a_text: TypeMismatch, one_step("id: 12") => "LAB.yaml:10:11: step A, field with.id: text that looks like something else needs quotes (expected string, found integer 12)";
    a_mapping_for_a_number: TypeMismatch, one_step("i32: { a: 1 }") => "LAB.yaml:10:12: step A, field with.i32: only a message is written as a mapping (expected int32, found a mapping)";
    a_number_for_an_enum: TypeMismatch, one_step("color: 1") => "LAB.yaml:10:14: step A, field with.color: an enum value is written by its name (expected enum lab.v1.Color, found integer 1)";
    a_business_id_that_is_no_text: TypeMismatch, head("deadline: 5m", "deadline: 5m\nbusiness_id: input.i64") => "LAB.yaml:5:14: field business_id: `input.i64` is not a string (expected string, found int64)";
    a_deadline_that_is_no_duration: TypeMismatch, head("deadline: 5m", "deadline: input.at") => "LAB.yaml:4:11: field deadline: `input.at` is not a duration (expected google.protobuf.Duration, found google.protobuf.Timestamp)";
    a_list_for_one_value: CardinalityMismatch, one_step("id: input.tags") => "LAB.yaml:10:11: step A, field with.id: `input.tags` has another cardinality (expected string, found repeated string)";
    one_value_for_a_list: CardinalityMismatch, one_step("tags: input.id") => "LAB.yaml:10:13: step A, field with.tags: `input.id` has another cardinality (expected repeated string, found string)";
    a_literal_for_a_list: CardinalityMismatch, one_step("tags: a") => "LAB.yaml:10:13: step A, field with.tags: the field is repeated; write a sequence (expected repeated string, found string \"a\")";
    a_sequence_for_one_value: CardinalityMismatch, one_step("id: [a]") => "LAB.yaml:10:11: step A, field with.id: the field holds one value (expected string, found a sequence)";
    a_wide_integer_for_a_narrow_one: Narrowing, one_step("i32: input.i64") => "LAB.yaml:10:12: step A, field with.i32: `input.i64` does not always fit (expected int32, found int64)";
    a_signed_integer_for_an_unsigned_one: Narrowing, one_step("u64: input.i32") => "LAB.yaml:10:12: step A, field with.u64: `input.i32` does not always fit (expected uint64, found int32)";
    a_double_for_a_float: Narrowing, one_step("f32: input.f64") => "LAB.yaml:10:12: step A, field with.f32: `input.f64` does not always fit (expected float, found double)";
    an_integer_that_does_not_fit: LiteralOutOfRange, one_step("i32: 2147483648") => "LAB.yaml:10:12: step A, field with.i32: the literal is out of range (expected int32, found integer 2147483648)";
    a_negative_integer_for_an_unsigned_field: LiteralOutOfRange, one_step("u64: -1") => "LAB.yaml:10:12: step A, field with.u64: the literal is out of range (expected uint64, found integer -1)";
    an_integer_beyond_128_bits: LiteralOutOfRange, one_step(&format!("u64: {}", "9".repeat(50))) => "LAB.yaml:10:12: step A, field with.u64: the literal is out of range (expected uint64, found integer 170141183460469231731687303715884105727)";
    an_integer_a_float_cannot_hold: LiteralOutOfRange, one_step("f32: 16777217") => "LAB.yaml:10:12: step A, field with.f32: the literal is out of range (expected float, found integer 16777217)";
    a_null: BadLiteral, one_step("id: ~") => "LAB.yaml:10:11: step A, field with.id: null is not a value; leave the field out (expected string, found null)";
    a_time_that_cannot_be_read: BadLiteral, one_step("at: tomorrow") => "LAB.yaml:10:11: step A, field with.at: the literal cannot be read: invalid rfc3339 timestamp: invalid date (expected google.protobuf.Timestamp, found string \"tomorrow\")";
    a_map_key_of_another_type: BadLiteral, one_step("by_number: { one: {} }") => "LAB.yaml:10:20: step A, field with.by_number[one]: the key cannot be read as the map's key type (expected int32, found `one`)";
    a_misspelt_enum_value: UnknownEnumValue, one_step("color: COLOR_RDE") => "LAB.yaml:10:14: step A, field with.color: lab.v1.Color has no value `COLOR_RDE`; did you mean `COLOR_RED`? (expected enum lab.v1.Color, found string \"COLOR_RDE\")";
    two_members_of_a_oneof: OneofConflict, one_step("left: a\nright: b") => "LAB.yaml:11:7: step A, field with.right: `right` and `left` exclude each other (oneof choice)";
    a_step_that_does_not_say_how_it_is_undone: MissingNoCompensation, read("timeout: 1s") => "LAB.yaml:6:5: step A: nothing says how this step is undone (expected `compensate`, `no_compensation: \"<why>\"`, `pivot: true` or `retriable: true`)";
    a_compensation_of_the_pivot: CompensationNotAllowed, read("pivot: true, compensate: { call: lab.v1.LabSteps/Undo }") => "LAB.yaml:6:69: step A, field compensate: `compensate` has no meaning on the pivot, which is never undone";
    a_compensation_of_a_retriable_step: CompensationNotAllowed, read("retriable: true, compensate: { call: lab.v1.LabSteps/Undo }") => "LAB.yaml:6:73: step A, field compensate: `compensate` has no meaning on a retriable step, which is never undone";
    a_compensation_behind_the_pivot: CompensationNotAllowed, saga("  - { name: A, call: lab.v1.LabSteps/Read, pivot: true }\n  - { name: B, call: lab.v1.LabSteps/Read, compensate: { call: lab.v1.LabSteps/Undo } }\n") => "LAB.yaml:7:56: step B, field compensate: `compensate` has no meaning on a step after the pivot A, which is never undone";
    a_second_pivot: SecondPivot, saga("  - { name: A, call: lab.v1.LabSteps/Read, pivot: true }\n  - { name: B, call: lab.v1.LabSteps/Read, pivot: true }\n") => "LAB.yaml:7:51: step B, field pivot: A is the pivot already";
    a_pivot_behind_a_retriable_step: ZoneOrder, saga("  - { name: A, call: lab.v1.LabSteps/Read, retriable: true }\n  - { name: B, call: lab.v1.LabSteps/Read, pivot: true }\n") => "LAB.yaml:7:5: step B: a step that may be refused or undone cannot come after a retriable one (expected compensatable steps, then at most one pivot, then retriable steps, found a pivot step after a retriable one)";
    a_compensatable_step_behind_a_retriable_one: ZoneOrder, saga("  - { name: A, call: lab.v1.LabSteps/Read, retriable: true }\n  - { name: B, call: lab.v1.LabSteps/Read, no_compensation: reads }\n") => "LAB.yaml:7:5: step B: a step that may be refused or undone cannot come after a retriable one (expected compensatable steps, then at most one pivot, then retriable steps, found a compensatable step after a retriable one)";
    an_expiry_of_a_retriable_step: ExpiresNotAllowed, read("retriable: true, expires: 5m") => "LAB.yaml:6:70: step A, field expires: `expires` unwinds the saga, so it cannot stand on a retriable step, which is never undone";
    an_expiry_from_a_reply: ReplyNotAvailable, saga("  - { name: A, call: lab.v1.LabSteps/Read, no_compensation: reads }\n  - { name: B, call: lab.v1.LabSteps/Read, no_compensation: reads, expires: steps.A.wait }\n") => "LAB.yaml:7:77: step B, field expires: `expires` is read when the saga starts, before any step has answered (expected a literal or a path into the input, found steps.A.wait)";
    retries_of_the_pivot: RetriesNotAllowed, read("pivot: true, retry: { retries: 1 }") => "LAB.yaml:6:75: step A, field retry.retries: this operation is repeated until it succeeds; only actions before the commit point are limited";
    retries_of_a_compensation: RetriesNotAllowed, read("compensate: { call: lab.v1.LabSteps/Undo, retry: { retries: 1 } }") => "LAB.yaml:6:104: step A, field compensate.retry.retries: this operation is repeated until it succeeds; only actions before the commit point are limited";
    a_step_beside_the_pivot: ZoneOrder, steps3("no_compensation: n", "pivot: true, after: []", "after: [P]") => "LAB.yaml:6:5: step A: nothing says whether this step comes before the pivot P or after it (expected compensatable steps, then at most one pivot, then retriable steps, found a step beside P)";
    a_retriable_step_beside_the_pivot: ZoneOrder, steps3("no_compensation: n", "pivot: true", "retriable: true, after: [A]") => "LAB.yaml:8:5: step Z: a retriable step comes after every step that may be refused or undone, but this one does not come after P (expected compensatable steps, then at most one pivot, then retriable steps, found a retriable step beside P)";
    a_retriable_step_beside_a_compensatable_one: ZoneOrder, steps3("no_compensation: n", "no_compensation: n", "retriable: true, after: [A]") => "LAB.yaml:8:5: step Z: a retriable step comes after every step that may be refused or undone, but this one does not come after P (expected compensatable steps, then at most one pivot, then retriable steps, found a retriable step beside P)";
    a_reply_of_a_step_beside: ReplyNotAvailable, steps3("retriable: true", "retriable: true, after: [A]", "retriable: true, after: [A], with: { text: steps.P.text }") => "LAB.yaml:8:87: step Z, field with.text: P need not have run by then (expected a step that comes before this one)";
    a_condition_that_is_no_bool: TypeMismatch, read("pivot: true, when: input.id") => "LAB.yaml:6:63: step A, field when: `input.id` is not a bool (expected bool, found string)";
    a_condition_that_is_no_path: BadPath, read("pivot: true, when: true") => "LAB.yaml:6:63: step A, field when: `when` is a path to a bool, nothing more (expected input.FIELD, steps.STEP.FIELD or { from: PATH, allow_default: true }, found bool true)";
    a_condition_that_is_quoted: BadPath, read("pivot: true, when: 'input.flag'") => "LAB.yaml:6:63: step A, field when: `when` is a path to a bool, nothing more (expected input.FIELD, steps.STEP.FIELD or { from: PATH, allow_default: true }, found string \"input.flag\")";
    a_condition_that_may_be_absent: NeedsAllowDefault, saga("  - { name: A, call: lab.v1.LabSteps/Do, pivot: true }\n  - { name: B, call: lab.v1.LabSteps/Do, when: steps.A.sure }\n") => "LAB.yaml:7:48: step B, field when: `steps.A.sure` is absent if `sure` is not set; say what happens then (expected { from: steps.A.sure, allow_default: true })";
    a_condition_on_the_step_itself: ReplyNotAvailable, step("call: lab.v1.LabSteps/Do, pivot: true, when: steps.A.flag") => "LAB.yaml:6:61: step A, field when: A cannot have run by then (expected a step that comes before this one)";
    a_reply_of_a_step_that_may_be_left_out: ReplyMayBeAbsent, steps3("retriable: true, when: input.flag", "retriable: true", "retriable: true, with: { text: steps.A.text }") => "LAB.yaml:8:75: step Z, field with.text: `steps.A.text` is absent if A was left out, as its `when` allows; say what happens then (expected { from: steps.A.text, allow_default: true })";
    a_probe_that_may_change_something: ProbeNotNatural, step("call: lab.v1.LabSteps/Do, pivot: true, probe: { call: lab.v1.LabSteps/Do }") => "LAB.yaml:6:70: step A, field probe.call: /lab.v1.LabSteps/Do may change something; a probe only looks (expected a method whose barrier is BARRIER_NATURAL)";
    a_probe_with_another_reply: TypeMismatch, step("call: lab.v1.LabSteps/Do, pivot: true, probe: { call: lab.v1.LabSteps/Read }") => "LAB.yaml:6:70: step A, field probe.call: a probe answers for the action, so it has the same reply (expected lab.v1.Everything, found lab.v1.Inner)";
    a_probe_with_retries_of_its_own: ConflictingKeys, read("pivot: true, probe: { call: lab.v1.LabSteps/Read, timeout: 1s }") => "LAB.yaml:6:103: step A, field probe.timeout: a probe takes the place of an attempt of its action, with the action's retries and timeout";
    a_probe_that_reads_a_later_step: ReplyNotAvailable, saga("  - { name: A, call: lab.v1.LabSteps/Read, pivot: true, probe: { call: lab.v1.LabSteps/Read, with: { text: steps.B.text } } }\n  - { name: B, call: lab.v1.LabSteps/Read }\n") => "LAB.yaml:6:108: step A, field probe.with.text: B cannot have run by then (expected a step that comes before this one)";
    a_step_that_waits_for_a_later_one_in_turn: Cycle, steps3("retriable: true, after: [Z]", "retriable: true", "retriable: true") => "LAB.yaml:6:68: step A, field after: steps wait for each other: P, then Z, then A, then P";
    a_kind_that_does_not_exist: BadKind, head("version: 1", "version: 1\nkind: cct") => "LAB.yaml:3:7: field kind: there is no such kind of saga (expected saga or tcc, found `cct`)";
    a_tcc_without_tries: MissingKey, "saga: LAB\nversion: 1\nkind: tcc\ninput: lab.v1.Everything\ndeadline: 5m\n" => "LAB.yaml:1:1: field tries: `tries` is missing";
    a_routing_key_of_one_word: BadRoutingKey, publish("publish: requested, message: lab.v1.Other") => "LAB.yaml:6:25: step A, field publish: this is not a routing key (expected two or more words of lower-case letters, digits and `_` joined by dots, at most 200 bytes, found `requested`)";
    a_routing_key_of_the_orchestrator: BadRoutingKey, publish("publish: saga.completed, message: lab.v1.Other") => "LAB.yaml:6:25: step A, field publish: keys that begin with `saga.` are the orchestrator's own (found `saga.completed`)";
    a_routing_key_with_a_wildcard: BadRoutingKey, publish("publish: a.b, message: lab.v1.Other, await: { reply: 'a.*', message: lab.v1.Inner }") => "LAB.yaml:6:69: step A, field await.reply: this is not a routing key (expected two or more words of lower-case letters, digits and `_` joined by dots, at most 200 bytes, found `a.*`)";
    what_is_published_without_a_type: MissingKey, publish("publish: a.b") => "LAB.yaml:6:5: step A, field message: `message`, the type of what is published, is missing";
    what_is_published_of_an_unknown_type: UnknownMessage, publish("publish: a.b, message: lab.v1.Othr") => "LAB.yaml:6:39: step A, field message: there is no message `lab.v1.Othr` among the descriptors; did you mean `lab.v1.Other`?";
    a_call_that_is_published: ConflictingKeys, publish("call: lab.v1.LabSteps/Read, publish: a.b, message: lab.v1.Other") => "LAB.yaml:6:53: step A, field publish: something is either called or published";
    a_message_of_a_call: ConflictingKeys, read("pivot: true, message: lab.v1.Other") => "LAB.yaml:6:66: step A, field message: `message` is the type of what is published; a call has the request of its method";
    an_acknowledgement_of_what_is_published: ConflictingKeys, publish("publish: a.b, message: lab.v1.Other, unsafe_ack: x") => "LAB.yaml:6:65: step A, field unsafe_ack: publishing is safe to repeat: `unsafe_ack` has no meaning here";
    a_reply_key_that_is_the_request_key: ConflictingKeys, publish("publish: a.b, message: lab.v1.Other, await: { reply: a.b, message: lab.v1.Inner }") => "LAB.yaml:6:69: step A, field await.reply: `a.b` already means something else here";
    a_failed_key_that_is_the_reply_key: ConflictingKeys, publish("publish: a.b, message: lab.v1.Other, await: { reply: a.c, message: lab.v1.Inner, failed: a.c }") => "LAB.yaml:6:105: step A, field await.failed: `a.c` already means something else here";
    a_token_for_what_is_published: BadAwait, publish("publish: a.b, message: lab.v1.Other, await: token") => "LAB.yaml:6:60: step A, field await: nothing says which reply is awaited to what is published (expected { reply: ROUTING_KEY, message: TYPE }, found token)";
    a_reply_awaited_to_a_call: BadAwait, read("pivot: true, await: { reply: a.b, message: lab.v1.Inner }") => "LAB.yaml:6:64: step A, field await: a call has the reply of its method; only to what is published a reply is awaited (expected token, found a mapping)";
    a_word_that_is_no_await: WrongShape, read("pivot: true, await: reply") => "LAB.yaml:6:64: step A, field await: this value has the wrong shape (expected `token`, or a mapping with `reply` and `message`, found a scalar)";
    an_await_without_a_key: MissingKey, publish("publish: a.b, message: lab.v1.Other, await: { message: lab.v1.Inner }") => "LAB.yaml:6:60: step A, field await.reply: `reply`, the routing key of the reply, is missing";
    an_await_without_a_type: MissingKey, publish("publish: a.b, message: lab.v1.Other, await: { reply: a.c }") => "LAB.yaml:6:60: step A, field await.message: `message`, the type of the reply, is missing";
    an_await_of_an_unknown_type: UnknownMessage, publish("publish: a.b, message: lab.v1.Other, await: { reply: a.c, message: lab.v1.Nothing }") => "LAB.yaml:6:83: step A, field await.message: there is no message `lab.v1.Nothing` among the descriptors";
    a_request_published_too_often: DurationOutOfRange, publish("publish: a.b, message: lab.v1.Other, await: { reply: a.c, message: lab.v1.Inner, ask_again: 1ms }") => "LAB.yaml:6:108: step A, field await.ask_again: the duration is out of range (expected 1s to 1h, found 1ms)";
    a_reply_that_nobody_awaits: ReplyNotAvailable, saga("  - { name: A, publish: a.b, message: lab.v1.Other, retriable: true }\n  - { name: B, call: lab.v1.LabSteps/Do, retriable: true, with: { id: steps.A.text } }\n") => "LAB.yaml:7:71: step B, field with.id: A publishes and awaits nothing, so there is no reply (expected a step that calls, or awaits a reply)";
    a_probe_that_publishes: ConflictingKeys, read("pivot: true, probe: { publish: a.b }") => "LAB.yaml:6:75: step A, field probe.publish: a probe calls a method and takes its answer at once";
    a_probe_with_a_token: ConflictingKeys, read("pivot: true, probe: { call: lab.v1.LabSteps/Read, await: token }") => "LAB.yaml:6:101: step A, field probe.await: a probe calls a method and takes its answer at once";
    a_probe_of_what_is_published_and_not_awaited: TypeMismatch, publish("publish: a.b, message: lab.v1.Other, probe: { call: lab.v1.LabSteps/Read }") => "LAB.yaml:6:68: step A, field probe.call: a probe answers for the action, so it has the same reply (expected google.protobuf.Empty, found lab.v1.Inner)";
    steps_that_wait_for_each_other: Cycle, saga("  - { name: A, call: lab.v1.LabSteps/Read, retriable: true, after: [B] }\n  - { name: B, call: lab.v1.LabSteps/Read, retriable: true, after: [A] }\n") => "LAB.yaml:7:68: step B, field after: steps wait for each other: B, then A, then B";
    a_step_that_waits_for_itself: Cycle, read("retriable: true, after: [A]") => "LAB.yaml:6:68: step A, field after: steps wait for each other: A, then A";
}

#[test]
fn a_service_nobody_answers_for() {
    let yaml = read("pivot: true");
    for (participants, expected) in [
        (vec![], "none is configured"),
        (vec!["lab.v2", "lab.v1.Lab"], "lab.v1.Lab, lab.v2"),
    ] {
        let problems = compile(&yaml, &pool(), &Participants::new(participants)).unwrap_err();
        let found: Vec<_> = problems.iter().map(|p| (p.kind, p.in_file("LAB.yaml"))).collect();
        let message = "no participant is configured for `lab.v1.LabSteps`";
        let line = format!("LAB.yaml:6:22: step A, field call: {message} (expected {expected})");
        assert_eq!(found, [(ProblemKind::UnknownParticipant, line)]);
    }
}

#[test]
fn an_alias_is_no_shorthand() {
    let yaml = read("pivot: true, with: { text: &a x, from: *a }");
    let problems = compiled(&yaml).unwrap_err();
    let found: Vec<_> = problems.iter().map(|p| p.in_file("LAB.yaml")).collect();
    assert_eq!(
        found,
        [
            "LAB.yaml:6:71: anchors are not allowed; repeat the value",
            "LAB.yaml:6:83: aliases are not allowed; repeat the value",
        ]
    );
}

#[test]
fn all_mistakes_are_reported_at_once_and_in_order() {
    let yaml = "saga: lab
version: 1
input: lab.v1.Everything
deadlin: 5m
steps:
  - name: A
    call: lab.v1.LabSteps/Raed
    with: { id: input.i64 }
  - name: B
    call: lab.v1.LabSteps/Do
    pivot: maybe
    with: { id: input.i64, tgas: [a], color: COLOR_RDE }
";
    let problems = compiled(yaml).unwrap_err();
    let found: Vec<_> = problems.iter().map(|p| (p.line, p.kind.reason())).collect();
    assert_eq!(
        found,
        [
            (1, "MISSING_KEY"),
            (1, "BAD_NAME"),
            (4, "UNKNOWN_KEY"),
            (6, "MISSING_NO_COMPENSATION"),
            (7, "UNKNOWN_METHOD"),
            (9, "MISSING_NO_COMPENSATION"),
            (11, "BAD_BOOLEAN"),
            (12, "TYPE_MISMATCH"),
            (12, "UNKNOWN_FIELD"),
            (12, "UNKNOWN_ENUM_VALUE"),
        ],
        "{}",
        lines(&problems)
    );
}

#[test]
fn parse_alone_reports_the_shape_and_check_the_rest() {
    let yaml = read("pivot: true, pivto: 1, timeout: x");
    let kinds: Vec<_> = parse(&yaml).unwrap_err().iter().map(|p| p.kind).collect();
    assert_eq!(kinds, [ProblemKind::UnknownKey, ProblemKind::BadDuration]);
    let source = parse(&one_step("id: input.i64")).unwrap();
    let problems = check(&source, &pool(), &participants()).unwrap_err();
    assert_eq!(problems[0].kind, ProblemKind::TypeMismatch);
}

#[test]
fn mistakes_in_built_definitions_have_no_line() {
    let call = Call::new("lab.v1.LabSteps/Do")
        .with("id", Expr::path("input.i64"))
        .with("id", Expr::text("x"));
    let source = Builder::new("LAB", 1, "lab.v1.Everything")
        .deadline_ms(1)
        .step(Step::new("A", call).pivot())
        .build();
    let problems = check(&source, &pool(), &participants()).unwrap_err();
    let found: Vec<_> = problems.iter().map(|p| p.in_file("rust")).collect();
    assert_eq!(
        found,
        [
            "rust: field deadline: the duration is out of range (expected 1s to 30d, found 1ms)",
            "rust: step A, field with.id: `input.i64` has another type (expected string, found int64)",
            "rust: step A, field with.id: `id` is given twice",
        ]
    );
}

#[test]
fn a_built_value_nested_without_end_is_refused() {
    let deep = (0..10_000).fold(Expr::fields([]), |inner, _| Expr::fields([("inner", inner)]));
    let call = Call::new("lab.v1.LabSteps/Do").with("inner", deep);
    let source = Builder::new("LAB", 1, "lab.v1.Everything")
        .deadline_ms(60_000)
        .step(Step::new("A", call).pivot())
        .build();
    let problems = check(&source, &pool(), &participants()).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].kind, ProblemKind::TooDeep);
    std::mem::forget(source);
}

#[test]
fn problems_are_bounded() {
    let unknown: String = (0..1_000).map(|n| format!("k{n}: 1\n")).collect();
    assert_eq!(
        compiled(&unknown).unwrap_err().len(),
        saga_definition::MAX_PROBLEMS
    );
}
