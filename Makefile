# Every target is one or two commands; CI calls the same ones.
.PHONY: demo dev test test-faults money-seeds check bench bench-gateway bench-watch idempotency-demo ci lint-proto deny readme api-test

# Plays the six stories on a private Postgres and ends. Installs Postgres binaries if there are none.
demo:
	deploy/ensure-postgres.sh
	env -u DATABASE_URL cargo run -q -p evenkeel -- dev --demo --exit

# Runs everything here until Ctrl-C.
dev:
	deploy/ensure-postgres.sh
	cargo run -q -p evenkeel -- dev

# All tests, on a private Postgres, RabbitMQ and Redis on free ports.
test:
	deploy/ensure-postgres.sh
	-deploy/ensure-python-grpc.sh
	deploy/ensure-rabbitmq.sh
	deploy/ensure-redis.sh
	cargo run -q -p test-support --bin with-services -- cargo test --workspace

# Slow suites: every definition against the same faults; processes killed under load. Some minutes after the build.
test-faults:
	deploy/ensure-postgres.sh
	deploy/ensure-rabbitmq.sh
	deploy/ensure-redis.sh
	cargo run -q -p test-support --bin with-services -- cargo test --workspace --features e2e/faults --test definitions --test faults -- --nocapture

# Random users, providers that misbehave, processes that are killed: the books agree in the end. About six minutes after the
# build. SEED=n plays one seed alone; FIRST=n SEEDS=m others than 200 random ones.
money-seeds:
	deploy/ensure-postgres.sh
	deploy/ensure-rabbitmq.sh
	deploy/ensure-redis.sh
	SEED=$(SEED) FIRST=$(FIRST) SEEDS=$(SEEDS) cargo run -q -p test-support --bin with-services -- cargo test --workspace --features e2e/faults --test seeds -- --nocapture

# Format and lints, warnings refused.
check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

# Throughput and latency, optimized build; takes about five minutes after the build.
bench:
	deploy/ensure-postgres.sh
	cargo run -q --profile bench-run -p evenkeel -- bench sagas

# Generated requests against the served OpenAPI document: no 5xx, nothing undocumented. Needs PyPI the first time.
api-test:
	deploy/ensure-postgres.sh
	deploy/api-test.sh

# What the gateway adds to a call, and an Idempotency-Key to a request; about two minutes after the build.
bench-gateway:
	deploy/ensure-postgres.sh
	-deploy/ensure-redis.sh
	cargo run -q --profile bench-run -p evenkeel -- bench gateway

# 2,000 WebSockets, 200 events a second, reconnects: nothing lost, the gateway's memory; one minute after the build.
bench-watch:
	deploy/ensure-postgres.sh
	cargo run -q --profile bench-run -p evenkeel -- bench watch

# A POST repeated in every way that matters has one effect; fails if a promise is broken. Half a minute after the build.
idempotency-demo:
	deploy/ensure-postgres.sh
	cargo run -q -p evenkeel -- bench repeat

# What the README says is what happens.
readme:
	deploy/check-readme.sh

# Names and layout of the protos. Needs node.
lint-proto:
	cd proto && npx --yes @bufbuild/buf@1.75.0 lint

# Licences, bans, sources. Needs `cargo install --locked cargo-deny`.
deny:
	cargo deny check licenses bans sources

ci:
	.ci/run
