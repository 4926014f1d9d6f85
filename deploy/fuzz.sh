#!/usr/bin/env bash
# Fuzzes the parsers of outside data with libFuzzer, on the stable toolchain. What was found before is kept in fuzz/corpus and
# tried first; a crash is kept in fuzz/artifacts and ends this with 1.
#
#   deploy/fuzz.sh                      every target for FUZZ_SECONDS (30)
#   deploy/fuzz.sh definition           one of them
#   deploy/fuzz.sh --keep definition    and keeps, of what was found, what covers more code
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

keep=false
if [ "${1:-}" = --keep ]; then
    keep=true
    shift
fi
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
    targets=(definition mapping metadata request)
fi

if ! command -v c++ >/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends g++ >/dev/null
    else
        echo "A C++ compiler is needed (libFuzzer): install g++." >&2
        exit 69
    fi
fi

# What libFuzzer needs to see which code an input reaches; nothing here needs a nightly toolchain.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/../target}/fuzz"
# With a target, build scripts and procedural macros are built without these flags.
host=$(rustc -vV | sed -n 's/^host: //p')
built=()
for target in "${targets[@]}"; do
    built+=(--bin "$target")
done
cargo build --release --locked --quiet --target "$host" "${built[@]}"

for target in "${targets[@]}"; do
    found=$(mktemp -d)
    mkdir -p "corpus/$target" artifacts
    options=(-timeout=10 -rss_limit_mb=2048 -max_len=16384 "-artifact_prefix=artifacts/$target-")
    dictionary="$target.dict"
    if [ -f "$dictionary" ]; then
        options+=("-dict=$dictionary")
    fi
    program="$CARGO_TARGET_DIR/$host/release/$target"
    if ! "$program" "$found" "corpus/$target" "-max_total_time=${FUZZ_SECONDS:-30}" \
        -print_final_stats=1 "${options[@]}" >"$found.log" 2>&1; then
        tail -n 40 "$found.log" >&2
        echo "$target: a crash, kept in fuzz/artifacts; repeat it with $program <file>" >&2
        exit 1
    fi
    executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$found.log")
    covered=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$found.log" | tail -1)
    known=$(find "corpus/$target" -type f | wc -l)
    printf '%-12s %10s inputs, %6s places of the code reached, %4s kept before\n' "$target" "$executed" "$covered" "$known"
    if $keep; then
        "$program" -merge=1 -use_counters=0 "corpus/$target" "$found" "${options[@]}" >"$found.log" 2>&1
    fi
    rm -rf "$found" "$found.log"
done
