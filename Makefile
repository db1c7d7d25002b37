# What people do here. `make run` and `make test` are all that a fresh machine needs.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
SERVER := $(TARGET)/release/commonwatch

.DEFAULT_GOAL := help
.PHONY: help run test bench fuzz fmt clippy clean

help: ## Lists what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

run: ## Builds the server and starts it with simulated commons that ship to it
	@echo "==> building the release binary (several minutes the first time, seconds afterwards)"
	@$(CARGO) build --release --locked
	@echo "==> starting the demo; Ctrl-C ends it"
	@$(SERVER) demo

test: ## Installs the clients that the tests need, then runs every test
	@scripts/install-test-clients
	@echo "==> building the tests (several minutes the first time) and running them"
	@$(CARGO) test --locked

bench: ## Measures ingest with the server on one core; BENCH=long takes the full load
	@echo "==> building the release binary and the load generator (several minutes the first time)"
	@$(CARGO) bench --locked --bench bench

fuzz: ## Feeds every decoder and parser what libFuzzer invents, 60 s each; FUZZ=long takes 5 M inputs
	@echo "==> building the fuzz targets (several minutes the first time), then $(or $(FUZZ_SECONDS),60) s each"
	@scripts/fuzz $(FUZZ_TARGETS)

fmt: ## Formats the code
	@$(CARGO) fmt

clippy: ## Lints the code; warnings are errors
	@$(CARGO) clippy --all-targets --locked -- -D warnings

clean: ## Removes what was built, the test clients' environment and the demo's data
	@$(CARGO) clean
	@rm -rf .venv data
