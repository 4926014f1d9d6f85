#!/usr/bin/env bash
# Sends generated requests to every operation of the served OpenAPI document, as nobody, as a user and as an administrator:
# no answer may be a 5xx, or one that the document does not have. Schemathesis comes from PyPI into a directory of its own.
#
# With --install it only installs Schemathesis; it fails with 69 if it cannot.
# API_TEST_EXAMPLES: requests for each operation and phase, 20 by default. API_TEST_SEED: repeats a run.
set -euo pipefail
cd "$(dirname "$0")/.."
version=4.32.5
examples=${API_TEST_EXAMPLES:-20}
seed=${API_TEST_SEED:-$((RANDOM * 32768 + RANDOM))}
tools=$PWD/.evenkeel/schemathesis-$version
binary=${EVENKEEL_BIN:-${CARGO_TARGET_DIR:-target}/debug/evenkeel}

if [ ! -x "$tools/bin/schemathesis" ]; then
    if ! python3 -m venv --help >/dev/null 2>&1 || ! python3 -c 'import ensurepip' 2>/dev/null; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            apt-get update -qq
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv >/dev/null
        else
            echo "python3 with venv is needed: install python3-venv." >&2
            exit 69
        fi
    fi
    if ! { python3 -m venv "$tools" && "$tools/bin/pip" install -q "schemathesis==$version"; }; then
        rm -rf "$tools"
        echo "schemathesis $version cannot be installed: is PyPI reachable?" >&2
        exit 69
    fi
fi
[ "${1:-}" != --install ] || exit 0
[ -n "${EVENKEEL_BIN:-}" ] || cargo build -q -p evenkeel

work=$(mktemp -d)
# The private Postgres may run as another user, and must reach its data.
chmod 755 "$work"
server=
cleanup() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap cleanup EXIT

env -u DATABASE_URL EVENKEEL_TELEMETRY__LEVEL=warn EVENKEEL_AUTH__LIMITS__LOGIN_IP_PER_HOUR=100000 \
    EVENKEEL_AUTH__LIMITS__LOGIN_ALL_PER_MINUTE=100000 \
    "$binary" dev --port-base 0 --data-dir "$work/data" >"$work/dev.log" 2>&1 &
server=$!
deadline=$((SECONDS + 60))
until grep -q 'EVENKEEL_KEYS=' "$work/dev.log"; do
    if ! kill -0 "$server" 2>/dev/null || [ $SECONDS -gt $deadline ]; then
        cat "$work/dev.log" >&2
        echo "evenkeel dev did not start" >&2
        exit 1
    fi
    sleep 0.2
done
eval "$(grep -o 'export .*' "$work/dev.log")"
database=$(grep -oE "postgres://[^' ]+" "$work/dev.log" | head -1)

text() { sed -n "s/.*\"$1\":\"\\([^\"]*\\)\".*/\\1/p"; }
post() {
    curl -fsS "$EVENKEEL_GATEWAY_URL$1" -H 'Content-Type: application/json' -d "$2"
}
# Registers somebody and prints an access token.
login() { post /api/v1/auth/login "{\"phone\":\"$1\",\"password\":\"an anchor and a compass\"}" | text accessToken; }
for phone in 13800000001 13800000002; do
    post /api/v1/auth/register "{\"phone\":\"$phone\",\"password\":\"an anchor and a compass\"}" >/dev/null
done
me=$(curl -fsS "$EVENKEEL_GATEWAY_URL/api/v1/users/me" -H "Authorization: Bearer $(login 13800000001)" | text userId)
admin=$(curl -fsS "$EVENKEEL_GATEWAY_URL/api/v1/users/me" -H "Authorization: Bearer $(login 13800000002)" | text userId)
"$binary" quota grant "$me" 100000 >/dev/null
"$binary" user make-admin "$admin" --database-url "$database" >/dev/null

run() {
    local who=$1
    shift
    echo "== as $who"
    # The stream never ends by itself; its own tests read it.
    if ! "$tools/bin/schemathesis" run "$EVENKEEL_GATEWAY_URL/openapi.json" \
        --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
        --exclude-path /api/v1/tasks/watch --max-examples "$examples" --seed "$seed" --no-color "$@" >"$work/$who.log" 2>&1; then
        cat "$work/$who.log"
        tail -20 "$work/dev.log"
        echo "FAILED as $who; repeat with API_TEST_SEED=$seed" >&2
        exit 1
    fi
    grep -A1 -E 'Tested:|^Test cases:' "$work/$who.log" | grep -vE '^--|^$|Test cases:|^ *Test Phases' || true
}
run nobody
run user --header "Authorization: Bearer $(login 13800000001)"
run administrator --header "Authorization: Bearer $(login 13800000002)"
if ! kill -0 "$server"; then
    echo "the server did not survive" >&2
    exit 1
fi
echo "no 5xx, and no answer that the document does not have (seed $seed)"
