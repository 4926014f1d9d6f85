#!/usr/bin/env bash
# Makes sure that a redis-server is on this machine; starts nothing and touches no running server. Tests only: the product
# runs without Redis, on a table of its Postgres.
# As root on Debian it installs the package that is absent; elsewhere it says what to run and fails with 69.
set -euo pipefail

found() {
    command -v redis-server >/dev/null
}

if found; then
    exit 0
fi

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "No redis-server found: installing the Debian package redis-server." >&2
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    # The package would start a server on the standard port; only its binary is wanted.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends redis-server >/dev/null
    found && exit 0
fi

cat >&2 <<'EOT'
No redis-server found. Install it in this way, then run the command again:
  sudo apt-get install -y redis-server      (Debian, Ubuntu; 6.2 or later)
or name a server of yours that tests may fill, without a password and with 4,096 databases:
  export EVENKEEL_TEST_REDIS=redis://127.0.0.1:6379
EOT
exit 69
