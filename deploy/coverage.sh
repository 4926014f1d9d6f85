#!/usr/bin/env bash
# Line coverage of tests while they run, and the floors of tools/coverage/floors.txt. Needs no component of the toolchain that
# is not always there: the profiles are read by tools/coverage.
#
#   deploy/coverage.sh begin              forgets what was measured before
#   deploy/coverage.sh run COMMAND...     runs it (make test) so that whatever it builds of this repository counts what runs
#   deploy/coverage.sh report [CRATE]     each crate beside its floor; with crates/x, also which of its lines did not run
#   deploy/coverage.sh report-slow        the same, with what `make test-faults` and `make money-seeds` have run
#   deploy/coverage.sh one PACKAGE        all three for the tests of one package, without floors
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$target/coverage

begin() {
    rm -rf "$work/profiles"
    mkdir -p "$work/profiles"
}

# Only what is ours is instrumented; what it is built from is shared with other builds.
instrument() {
    export RUSTC_WORKSPACE_WRAPPER="$root/deploy/coverage-rustc.sh"
    # At most four files for each program, into which its processes count as they run (%c).
    export LLVM_PROFILE_FILE="$work/profiles/%c%4m.profraw"
}

# Prints the programs that `cargo test` runs with these options, and the ones that those start. Builds what is not there.
programs() {
    cargo test "$@" --no-run --message-format=json 2>"$work/build.log" >"$work/messages.json" || {
        tail -n 40 "$work/build.log" >&2
        return 1
    }
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' "$work/messages.json"
}

# The slow suites have features of their own, and so are other programs than those of `make test`.
slow() {
    sed -n '/^\[\[test\]\]/,/^$/s/^name = "\(.*\)"/--test=\1/p' tests/e2e/Cargo.toml
}

report() {
    # A test that is built must not count as one that ran.
    unset LLVM_PROFILE_FILE
    sort -u -o "$work/objects" "$work/objects"
    cargo build --locked --quiet --manifest-path tools/coverage/Cargo.toml --target-dir "$work/tool"
    "$work/tool/debug/coverage" "$root" "$work/profiles" "$work/objects" "$@"
}

verb=${1:-}
[ $# = 0 ] || shift
case $verb in
begin) begin ;;
run)
    mkdir -p "$work/profiles"
    instrument
    exec "$@"
    ;;
report | report-slow)
    (
        instrument
        programs --workspace
        # shellcheck disable=SC2046 # words are to be split
        [ "$verb" = report ] || programs --workspace --features e2e/faults $(slow)
    ) >"$work/objects"
    report --floors tools/coverage/floors.txt ${1:+--missing "$1"}
    ;;
one)
    cargo build -q -p test-support --bin with-services
    begin
    instrument
    programs -p "$1" >"$work/objects"
    "$target/debug/with-services" cargo test -p "$1"
    unset RUSTC_WORKSPACE_WRAPPER
    home=$(cargo metadata --no-deps --format-version 1 | grep -oE "$root/(crates|services)/[^/\"]+/Cargo.toml" |
        sort -u | xargs grep -lx "name = \"$1\"")
    home=${home#"$root/"}
    report --missing "${home%/Cargo.toml}"
    ;;
*)
    sed -n 's/^#   //p' "$0" >&2
    exit 64
    ;;
esac
