# Two commands to begin with: `make demo` and `make test`. `make` alone lists all.
#
# Recipes stay short: what is longer than a few lines is a script in scripts/.

.DEFAULT_GOAL := help
.PHONY: help demo test check lint bless bench soak fuzz fmt

# `make demo TARGET=redis://…` watches that server instead of a private one.
TARGET ?=
export TARGET
# CI sets LOCKED=--locked: Cargo.lock must be what is committed.
export LOCKED ?=

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Run the daemon against a private redis-server (or TARGET=redis://…); Ctrl-C ends and removes it all
	@scripts/demo.sh

test: ## Install what the tests need and run all of them
	@scripts/install-deps.sh redis prometheus alertmanager compose
	cargo test $(LOCKED) --workspace --no-fail-fast

check: test lint ## Everything CI checks: tests, format, lints, docs, metrics, licences

lint: ## What `make check` adds to the tests
	@scripts/install-deps.sh prometheus alertmanager compose
	cargo fmt --all --check
	cargo clippy $(LOCKED) --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc $(LOCKED) --workspace --no-deps --quiet
	scripts/check-metrics.sh
	scripts/check-monitoring.sh
	scripts/check-licences.sh
	scripts/check-scripts.sh
	scripts/check-deploy.sh

bless: ## Rewrite the files that are generated from the code, for review in the diff
	@scripts/install-deps.sh redis
	BLESS=1 cargo test $(LOCKED) --test it -- config:: exposition:: acl::printed deploy::

bench: ## Measure speed against other tools and write the table into README.md
	@scripts/install-deps.sh redis exporter
	@scripts/bench.sh

soak: ## Run what takes minutes: many targets and runs, kills at every step, gigabytes
	@scripts/install-deps.sh redis
	cargo test $(LOCKED) --release --features soak --test soak -- --nocapture
	cargo test $(LOCKED) --features soak --test it -- soak:: --nocapture --test-threads 1

fuzz: ## Fuzz each parser for a minute (needs nightly Rust and cargo-fuzz)
	scripts/fuzz.sh

fmt: ## Format the code
	cargo fmt --all
