#!/usr/bin/env bash
# Prints the path of a python3 that has grpcio and protobuf, for examples/python-participant. If there is none: as root
# on Debian it installs the packages, elsewhere it makes a virtual environment in .evenkeel/python with pip. With --find
# it only looks. Fails with 69, and says what to run, if there is none in the end.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$PWD/.evenkeel/python

found() {
    local python
    for python in "${EVENKEEL_PYTHON:-}" python3 /usr/bin/python3 "$venv/bin/python3"; do
        [ -n "$python" ] || continue
        if python=$(command -v "$python") && "$python" -c 'import grpc, google.protobuf' 2>/dev/null; then
            echo "$python"
            return 0
        fi
    done
    return 1
}

found && exit 0

if [ "${1:-}" != --find ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "No python3 with grpcio found: installing the Debian packages python3-grpcio and python3-protobuf." >&2
        export DEBIAN_FRONTEND=noninteractive
        if apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-grpcio python3-protobuf >/dev/null; then
            found && exit 0
        fi
    fi
    if command -v python3 >/dev/null; then
        echo "No python3 with grpcio found: installing grpcio and protobuf with pip in $venv." >&2
        if python3 -m venv "$venv" >&2 && "$venv/bin/pip" install -q grpcio protobuf >&2; then
            found && exit 0
        fi
    fi
fi

cat >&2 <<'EOT'
No python3 with the packages grpcio and protobuf found. Install them in one of these ways, then run the command again:
  sudo apt-get install -y python3-grpcio python3-protobuf        (Debian, Ubuntu)
  python3 -m venv .evenkeel/python && .evenkeel/python/bin/pip install grpcio protobuf
  or name one that has them: export EVENKEEL_PYTHON=/path/to/python3
EOT
exit 69
