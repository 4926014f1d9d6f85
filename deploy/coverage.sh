#!/usr/bin/env bash
# Runs all tests instrumented and compares the line coverage of each crate with its floor (tools/coverage/floors.txt). Needs no
# component of the toolchain that is not always there: the profiles are read by tools/coverage.
#
#   deploy/coverage.sh                       all tests
#   deploy/coverage.sh -p barrier            those of one crate; floors of the others are then not looked at
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
target="${CARGO_TARGET_DIR:-$root/target}"
work="$target/coverage"
selection=("$@")
if [ ${#selection[@]} = 0 ]; then
    selection=(--workspace)
fi

cargo build --release --locked --quiet --manifest-path tools/coverage/Cargo.toml --target-dir "$work/tool"
cargo run -q -p test-support --bin with-services -- true

# Only what is ours is instrumented; what it is built from is shared with other builds.
export RUSTC_WORKSPACE_WRAPPER="$root/deploy/coverage-rustc.sh"
rm -rf "$work/profiles"
mkdir -p "$work/profiles"
# A few files for each program, into which its processes merge what they have counted.
export LLVM_PROFILE_FILE="$work/profiles/%4m.profraw"
export CARGO_TARGET_DIR="$target"
cargo test "${selection[@]}" --no-run --message-format=json 2>"$work/build.log" >"$work/messages.json" || {
    tail -n 40 "$work/build.log" >&2
    exit 1
}
sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' "$work/messages.json" | sort -u >"$work/objects"
rm -f "$work"/profiles/*
"$target/debug/with-services" cargo test "${selection[@]}" --quiet
floors=tools/coverage/floors.txt
if [ $# != 0 ]; then
    printf '* 0\n' >"$work/no-floors"
    floors="$work/no-floors"
fi
"$work/tool/release/coverage" "$root" "$work/profiles" "$work/objects" "$floors"
