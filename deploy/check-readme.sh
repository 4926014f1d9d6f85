#!/usr/bin/env bash
# Checks the README against reality: every `make` target it names exists, every `evenkeel` command it names has help,
# and the output it shows for `make demo` is what `make demo` prints.
#
# A shown line is compared with ids, times and addresses masked; `…` in the README stands for anything.
set -euo pipefail
cd "$(dirname "$0")/.."
readme=${1:-README.md}
out=$(mktemp)
trap 'rm -f "$out"' EXIT
failed=0

# Lines of the fenced blocks with the given name.
block() {
    awk -v name="$1" '
        /^```/ { if (inside) { inside = 0 } else if ($0 == "```" name) { inside = 1 }; next }
        inside { print }' "$readme"
}

for target in $(grep -oE '(^|`)make [a-z-]+' "$readme" | awk '{ print $2 }' | sort -u); do
    if ! grep -q "^$target:" Makefile; then
        echo "README names 'make $target', which the Makefile does not have" >&2
        failed=1
    fi
done

echo "make demo"
if ! make -s demo >"$out"; then
    cat "$out"
    echo "make demo failed" >&2
    exit 1
fi
cat "$out"

# Ids, numbers with a unit and process ids differ from run to run.
mask() {
    sed -E -e 's/(saga|task|user)_[0-9a-f]{32}/\1_ID/g' \
        -e 's/[+-][0-9]+\.[0-9]{3}s/+T/g' \
        -e 's/took [0-9.]+(ms|s|m)/took T/g' -e 's/after [0-9.]+(ms|s|m)/after T/g' \
        -e 's/kill -9 [0-9]+/kill -9 PID/g' -e 's/took [0-9.]+ s/took T/g' \
        -e 's/[[:space:]]+/ /g' -e 's/ $//'
}

masked=$(mask <"$out")
shown=0
while IFS= read -r line; do
    wanted=$(mask <<<"$line")
    [ -z "${wanted// /}" ] && continue
    [ "$wanted" = " …" ] || [ "$wanted" = "…" ] && continue
    shown=$((shown + 1))
    if ! grep -qxF -- "$wanted" <<<"$masked"; then
        echo "README shows a line that make demo does not print: $line" >&2
        failed=1
    fi
done < <(block "text demo")
if [ "$shown" -lt 10 ]; then
    echo "README shows only $shown lines of make demo" >&2
    failed=1
fi

binary=${EVENKEEL_BIN:-${CARGO_TARGET_DIR:-target}/debug/evenkeel}
while IFS= read -r line; do
    # The command's words up to the first argument or option.
    words=$(sed -E 's/^evenkeel ((dev|serve|migrate|doctor|bench|doubles|saga|quota|task)( (list|show|watch|start|cancel|check|register|activate|definitions|grant|balance|ledger|create|features|ai|sagas))?).*/\1/' <<<"$line")
    # shellcheck disable=SC2086 # words are to be split
    if ! "$binary" $words --help >/dev/null; then
        echo "README names a command that has no help: $line" >&2
        failed=1
    fi
done < <(block "sh" | grep -o '^evenkeel .*' || true)

exit $failed
