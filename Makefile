# What people do here. `make run` and `make test` are all that a fresh machine needs.

CARGO ?= cargo
TARGET := $(or $(CARGO_TARGET_DIR),target)
SERVER := $(TARGET)/release/commonwatch

OVERLOAD_TESTS := overload:: neighbours::

.DEFAULT_GOAL := help
.PHONY: help run test overload bench search peers cardinality alerting promql canaries faults powercut soak fuzz fmt clippy clean

help: ## Lists what can be made
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

run: ## Builds the server and starts it with simulated commons that ship to it
	@echo "==> building the release binary (several minutes the first time, seconds afterwards)"
	@$(CARGO) build --release --locked
	@echo "==> starting the demo; Ctrl-C ends it"
	@$(SERVER) demo

test: ## Installs the clients that the tests need, then runs every test
	@scripts/install-test-clients
	@echo "==> building the tests (several minutes the first time) and running them"
	@$(CARGO) test --locked

overload: ## Ten times the load for ten minutes in a cage of 1 GiB, and a noisy neighbour; needs root for the cage
	@echo "==> building the release binary and the stories"
	@OVERLOAD=long $(CARGO) test --release --locked --test it -- $(OVERLOAD_TESTS) --nocapture --test-threads 1 \
		&& echo "overload: PASSED" || { echo "overload: FAILED"; exit 1; }

bench: ## Measures ingest with the server on one core; BENCH=long takes the full load
	@echo "==> building the release binary and the load generator (several minutes the first time)"
	@$(CARGO) bench --locked --bench bench

search: ## Measures searches among a million log lines and spans; BENCH=long takes ten million of each
	@echo "==> building the release binary and the load generator (several minutes the first time)"
	@$(CARGO) bench --locked --bench bench -- search

cardinality: ## Sends a million new series to one commons of the release build; CARDINALITY_SERIES, CARDINALITY_CAP
	@echo "==> building the release binary and the tests (several minutes the first time)"
	@$(CARGO) build --release --locked
	@CARDINALITY=measured COMMONWATCH_TEST_BINARY=$(abspath $(SERVER)) $(CARGO) test --locked --test it -- cardinality --nocapture \
		&& echo "cardinality: PASSED" || { echo "cardinality: FAILED"; exit 1; }

alerting: ## Measures 5,000 rules over 100 commons and a storm of 50,000 alerts on the release build
	@echo "==> building the release binary and the tests (several minutes the first time)"
	@$(CARGO) build --release --locked
	@ALERTING_SCALE=measured COMMONWATCH_TEST_BINARY=$(abspath $(SERVER)) \
		$(CARGO) test --locked --test it -- alerting::scale --nocapture --test-threads 1 \
		&& echo "alerting: PASSED" || { echo "alerting: FAILED"; exit 1; }

peers: ## Measures ours beside Prometheus and VictoriaMetrics; PEERS=long takes loads that last
	@scripts/install-peers
	@echo "==> building the release binary and the load generator (several minutes the first time)"
	@$(CARGO) bench --locked --bench bench -- peers

promql: ## Asks Prometheus and us 100,000 random expressions; PROMQL_QUERIES, SEED repeats
	@scripts/install-test-clients
	@PROMQL_PEER_QUERIES=$(or $(PROMQL_QUERIES),100000) PROMQL_PEER_SEED=$(or $(SEED),$$(date +%s)) \
		$(CARGO) test --locked --test it promql_peer -- --nocapture \
		&& echo "promql: PASSED" || { echo "promql: FAILED"; exit 1; }

canaries: ## Asks 40,000 questions under random scopes and looks for secrets of other commons
	@COMMONWATCH_CANARY_QUERIES=$(or $(CANARY_QUERIES),40000) COMMONWATCH_CANARY_SEED=$(or $(SEED),20261121) \
		$(CARGO) test --locked --test it scope_canaries -- --nocapture \
		&& echo "canaries: no answer left its scope" || { echo "canaries: FAILED"; exit 1; }

powercut: ## Cuts a machine's power under load, 20 times (CUTS=200: the long form; CONTROL=1: without syncs)
	@echo "==> building the release binary and the rig (several minutes the first time)"
	@$(CARGO) build --release --locked
	@COMMONWATCH_TEST_BINARY=$(abspath $(SERVER)) \
	  $(CARGO) bench --profile dev --locked --bench powercut

faults: ## Kills, broken disks and flipped bits in their long forms (hours; FAULTS_MINUTES=5 ends each after five)
	@scripts/faults

soak: ## Runs the long proofs, a verdict each: crash states, kills, replay, overload, canaries (SOAK=long; SEED)
	@scripts/soak

fuzz: ## Feeds every decoder and parser what libFuzzer invents, 60 s each; FUZZ=long takes 5 M inputs
	@echo "==> building the fuzz targets (several minutes the first time), then $(or $(FUZZ_SECONDS),60) s each"
	@scripts/fuzz $(FUZZ_TARGETS)

fmt: ## Formats the code
	@$(CARGO) fmt

clippy: ## Lints the code; warnings are errors
	@$(CARGO) clippy --all-targets --locked -- -D warnings

clean: ## Removes what was built, the test clients and the demo's data
	@$(CARGO) clean
	@rm -rf .venv tests/clients/node_modules data
