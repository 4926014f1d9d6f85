#!/usr/bin/env bash
# Makes sure that RabbitMQ binaries are on this machine; starts nothing and touches no running broker. Tests only: the
# product runs without a broker, on its Postgres queue.
# As root on Debian it installs the package that is absent; elsewhere it says what to run and fails with 69.
set -euo pipefail

found() {
    local script
    for script in /usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server /opt/rabbitmq/sbin/rabbitmq-server; do
        [ -x "$script" ] && command -v epmd >/dev/null && return 0
    done
    return 1
}

if found; then
    exit 0
fi

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "No RabbitMQ binaries found: installing the Debian package rabbitmq-server." >&2
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    # The package would start a broker on the standard port; only its binaries are wanted.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod 755 "$policy"
        trap 'rm -f "$policy"' EXIT
    fi
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends rabbitmq-server >/dev/null
    found && exit 0
fi

cat >&2 <<'EOT'
No RabbitMQ binaries found. Install them in this way, then run the command again:
  sudo apt-get install -y rabbitmq-server   (Debian, Ubuntu)
or name a broker of yours, with its HTTP API, that tests may fill:
  export EVENKEEL_TEST_AMQP=amqp://guest:guest@127.0.0.1:5672 EVENKEEL_TEST_AMQP_API=127.0.0.1:15672
EOT
exit 69
