# Every target is one or two commands; CI calls the same ones.
.PHONY: demo dev build-tests test test-faults check check-coverage bench bench-gateway bench-watch idempotency-demo ci lint-proto deny readme api-test fuzz coverage bench-billing bench-waiting sim model money-seeds test-recovery

programs := $(abspath $(or $(CARGO_TARGET_DIR),target))/debug
# EVENKEEL_BIN names a binary that is built already.
evenkeel := $(or $(EVENKEEL_BIN),cargo run -q -p evenkeel --)

# Plays the six stories on a private Postgres and ends. Installs Postgres binaries if there are none.
demo:
	deploy/ensure-postgres.sh
	env -u DATABASE_URL $(evenkeel) dev --demo --exit

# Runs everything here until Ctrl-C.
dev:
	deploy/ensure-postgres.sh
	cargo run -q -p evenkeel -- dev

# Builds all tests, and what they need. Always of the whole workspace: another selection of packages means other features of
# what it is built from, and so building that again.
build-tests:
	deploy/ensure-postgres.sh
	-deploy/ensure-python-grpc.sh
	deploy/ensure-rabbitmq.sh
	deploy/ensure-redis.sh
	cargo test --workspace --no-run

# All tests, on a private Postgres, RabbitMQ and Redis on free ports.
test: build-tests
	$(programs)/with-services cargo test --workspace

# Slow suites: every definition against the same faults; processes killed under load. Some minutes after the build.
test-faults: build-tests
	$(programs)/with-services cargo test --workspace --features e2e/faults --test definitions --test faults -- --nocapture

# Three orchestrators under load: killed, restarted, cut off; a participant and Postgres killed. Some minutes after the build.
# UPDATE_DOCS=1 writes the times to docs/recovery.md.
test-recovery: build-tests
	$(programs)/with-services cargo test --workspace --features e2e/faults --test recovery -- --nocapture
	SAGA_FENCE_ROUNDS=30 $(programs)/with-services cargo test --workspace --features e2e/faults --test it journal_fence

# Simulates the engine with this many seeds (`make test` has 2,000), or tells one again with what happened: SEED=7.
sim:
	$(if $(SEED),SAGA_SIM_SEED=$(SEED),SAGA_SIM_SEEDS=$(or $(SEEDS),20000)) cargo test -q -p saga-engine --test it whatever_goes_wrong -- --nocapture

# The model check with one more fault a story than `make test` has, but for the widest definitions.
model:
	MODEL_MORE_FAULTS=1 cargo test -q -p model --test it no_story -- --nocapture

# Random users, providers that misbehave, processes that are killed: the books agree in the end. About six minutes after the
# build. SEED=n plays one seed alone; FIRST=n SEEDS=m others than 200 random ones.
money-seeds: build-tests
	SEED=$(SEED) FIRST=$(FIRST) SEEDS=$(SEEDS) $(programs)/with-services cargo test --workspace --features e2e/faults --test seeds -- --nocapture

# Format and lints, warnings refused; and the program by itself, as people build it.
check:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --features e2e/faults -- -D warnings
	cargo check -p evenkeel --bins

# The tool that measures coverage, a workspace of its own: format, lints, tests.
check-coverage:
	cd tools/coverage && cargo fmt --check
	cargo clippy --manifest-path tools/coverage/Cargo.toml --target-dir $(programs)/../coverage/tool --locked --all-targets -- -D warnings
	cargo test --manifest-path tools/coverage/Cargo.toml --target-dir $(programs)/../coverage/tool --locked

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

# CreateRefund with 32 at a time, 300 notifications a second; three minutes after the build.
bench-billing:
	deploy/ensure-postgres.sh
	cargo run -q --profile bench-run -p evenkeel -- bench billing

# 100,000 sagas that wait: memory of each, processor time of all.
bench-waiting:
	deploy/ensure-postgres.sh
	cargo run -q --profile bench-run -p evenkeel -- bench waiting

# A POST repeated in every way that matters has one effect; fails if a promise is broken. Half a minute after the build.
idempotency-demo:
	deploy/ensure-postgres.sh
	cargo run -q -p evenkeel -- bench repeat

# All tests, instrumented: line coverage of each crate beside its floor. CRATE=crates/x also names the lines that did not run.
coverage:
	deploy/coverage.sh begin
	deploy/coverage.sh run $(MAKE) test
	deploy/coverage.sh report $(CRATE)

# Coverage-guided fuzzing of the parsers of outside data, FUZZ_SECONDS (30) each.
fuzz:
	deploy/fuzz.sh

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
