# Two commands for newcomers: `make demo` and `make test`. Both do all set-up themselves.

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/weir
export CARGO_TARGET_DIR ?= $(CACHE)/target
VENV := $(CACHE)/venv
PACKAGES := moto[server,s3]==5.2.5 psycopg[binary]==3.3.9 sqlalchemy==2.1.9

# For each target of `make fuzz`.
SECONDS ?= 30

.PHONY: demo test soak fuzz lint bench setup postgres jdbc clean-cache

demo: postgres
	@echo "== building weir (the first build compiles its libraries and takes a while)"
	cargo build --workspace --bin weir --test tidy
	@demo/run $(CARGO_TARGET_DIR)/debug/weir

test: setup lint
	cargo test --workspace
	@fuzz/run $(SECONDS)

# Everything that reads bytes from outside, under a fuzzer: SECONDS=600 make fuzz TARGETS='stream wire'.
fuzz:
	@fuzz/run $(SECONDS) $(TARGETS)

# The bank under two hundred kills; prints its seed and how many reads were made.
soak: setup
	KILLS=200 cargo test --workspace --test main bank:: -- --nocapture

lint:
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --workspace --all-targets -- -D warnings

bench: postgres
	cargo bench --workspace --bench bench

setup: postgres jdbc $(VENV)/ready

# Servers of Debian's package, without its cluster: tests and the demo start their own in temporary folders.
postgres:
	@if ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null 2>&1; then :; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "== installing postgresql"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql; \
	else \
		echo "PostgreSQL's server programs are missing. Install them and try again, on Debian:  sudo apt-get install postgresql" >&2; exit 1; \
	fi

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
