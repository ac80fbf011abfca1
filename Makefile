# The two commands of the README are `make demo` and `make test`; each does its own set-up.

CARGO ?= cargo
# Debian package of the demonstration, or SOURCE=path.dsc for one of your own.
PACKAGE ?= hello

# Seconds of `make fuzz` for each target, and of `make test-api` for each token.
SECONDS_EACH ?= 60

.PHONY: build bench deb demo fuzz test test-api test-deb test-incus lint measure measure-pages overhead screenshots setup simulate soak FORCE

build: target/release/usine

# cargo decides whether there is anything to do.
target/release/usine: FORCE
	$(CARGO) build --release --bin usine
FORCE:

setup:
	./packaging/setup-host

demo: setup build
	./packaging/demo $(if $(SOURCE),--source "$(SOURCE)",--package "$(PACKAGE)")

# Debian packages of the program, in target/deb.
deb:
	./packaging/setup-host deb
	$(CARGO) build --release --locked --bin usine
	./packaging/build-deb

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

# What the program costs at rest, and how fast it starts.
measure: setup build
	./packaging/measure

# How fast the pages are with 100,000 work requests.
measure-pages: build
	./packaging/setup-host tests
	./packaging/measure-pages

# What a build costs more as a work request than by hand.
overhead: setup build
	./packaging/overhead

# How fast everything is, on SQLite and PostgreSQL, with the limits of the machine beside it: some 15 minutes. The report is in
# OUTPUT=target/bench; docs/benchmarks.md is OUTPUT=docs. BENCH="throughput --workers 100" for one measurement.
bench: build
	./packaging/setup-host tests
	./packaging/bench $(BENCH)

test:
	./packaging/setup-host tests
	./packaging/run-tests

# Every reader of what strangers send, fed with nonsense, led by coverage. `make test` does a short run without that.
fuzz:
	./packaging/setup-host
	./packaging/fuzz $(SECONDS_EACH) $(TARGETS)

# The API against its OpenAPI document for longer than `make test` does it.
test-api:
	./packaging/setup-host tests
	USINE_API_SECONDS=$(SECONDS_EACH) $(CARGO) test --workspace --test hardening -- api::

# The Debian packages, installed in a fresh bookworm with systemd. `make test` does the same with the program that it compiled.
test-deb:
	./packaging/setup-host tests
	$(CARGO) build --release --locked --bin usine
	./packaging/test-deb target/release/usine

# The executor incus-lxc with a real Incus; installs it from backports for the time of the test. Only as root on Debian 12.
test-incus:
	./packaging/setup-host tests
	./packaging/test-incus

# Pictures of the main pages, in light and dark, in target/screenshots.
screenshots:
	./packaging/setup-host tests
	./packaging/screenshots

# Seeds of the simulation, and the first of them.
SEEDS ?= 5000
FROM ?= 1
# How long each of the soak's tests takes.
MINUTES ?= 5

# Server, workers and people on a simulated clock and network, seed after seed. `make test` runs the first 200.
simulate:
	USINE_SIMULATION_SEEDS=$(SEEDS) USINE_SIMULATION_FROM=$(FROM) $(CARGO) test --workspace --test simulation -- --nocapture

# The real processes under load: killed at random, with a bad network to PostgreSQL, and a full disk. `make test` does so for seconds.
soak:
	./packaging/setup-host tests
	USINE_SOAK_MINUTES=$(MINUTES) $(CARGO) test --workspace --test soak -- --nocapture
