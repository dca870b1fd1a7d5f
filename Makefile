# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-long test-compiled test-sdks test-bulk test-soak fuzz check bench bench-peers format lock docs clean help

help:            ## Show the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# uv installs in seconds what takes pip minutes; pip does it where there is no uv, or where only pip.conf knows the index.
install = $(BIN)/uv pip install -q --compile-bytecode --python $(BIN)/python $(1) || $(BIN)/pip install -q $(1)

$(BIN)/portico: requirements/edge.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	-$(BIN)/pip install -q --only-binary :all: $$(grep -o '^uv==[^ ]*' requirements/dev.lock)
	$(call install,-r requirements/edge.lock)
	$(BIN)/pip install -q --no-deps -e .
	@touch $@

$(VENV)/.dev: $(BIN)/portico requirements/dev.lock
	$(call install,-r requirements/dev.lock)
	@touch $@

# What people get who install the package: the tunnel's core compiled (see hatch_build.py).
COMPILED := .cache/compiled
$(COMPILED)/.done: $(VENV)/.dev hatch_build.py pyproject.toml $(shell find src -name '*.py')
	rm -rf $(COMPILED)
	$(BIN)/pip install -q --no-deps --target $(COMPILED) .
	@touch $@

demo: $(BIN)/portico   ## An edge, an agent and a sample service on this machine; prints the public URL
	@$(BIN)/python examples/demo.py

# Whole systems, most of them under faults and load, each more than half a minute.
LONG := $(addprefix tests/features/test_,soak.py edge_survives.py pool_survives.py shared_database.py shared_limits.py \
	visitor_limits.py gate_dex.py music.py websocket_bytes.py policy_streams.py agent_tracing.py acme_life.py \
	acme_challenges.py acme_nodes.py settings_reload.py edge_relays.py ssh_survives.py rate_limit_workers.py \
	benchmarks.py) tests/rows/test_s4_music.py

test: $(VENV)/.dev     ## All tests but the long and the SDKs' ones; installs the programs that they drive
	@./tests/kit/install-parts
	$(BIN)/coverage erase
	$(BIN)/pytest -n 2 --dist loadfile --durations 30 --durations-min 3 --cov --cov-report= tests --ignore tests/sdks $(addprefix --ignore ,$(LONG))
	$(BIN)/coverage report --skip-covered --skip-empty | tail -n 60

test-long: $(VENV)/.dev ## Whole systems under faults and load (minutes)
	@./tests/kit/install-parts
	$(BIN)/pytest -n 2 --dist loadfile $(LONG)

test-compiled: $(COMPILED)/.done ## What passes bytes, on the compiled core
	@./tests/kit/install-parts
	PYTHONPATH=$(COMPILED) PORTICO_TEST_COMPILED=1 $(BIN)/pytest -n 2 --dist loadfile tests/unit/tunnel tests/unit/relay \
		tests/unit/agent tests/features/test_relay_*.py tests/features/test_http_through.py tests/features/test_pitfalls.py \
		tests/features/test_ngrok_python.py tests/features/test_sdk_*.py tests/features/test_ssh_*.py

test-sdks: $(VENV)/.dev ## The official ngrok SDKs (Python, JavaScript, Go, Rust) against a real edge
	@./tests/kit/install-parts
	$(BIN)/pytest tests/sdks tests/features/test_ngrok_python.py

test-bulk: $(VENV)/.dev ## 10 GiB each way, byte for byte, in constant memory (minutes)
	PORTICO_TEST_BULK_MIB=10240 $(BIN)/pytest tests/features/test_http_through.py -k bulk

test-soak: $(VENV)/.dev ## Ten minutes of visitors and faults at once; PORTICO_SOAK_SECONDS and _SEED choose others
	@./tests/kit/install-parts
	PORTICO_SOAK_SECONDS=$${PORTICO_SOAK_SECONDS:-600} $(BIN)/pytest tests/features/test_soak.py

fuzz: $(VENV)/.dev     ## Many requests made from the API's own OpenAPI document, and new examples for every property
	PORTICO_FUZZ_EXAMPLES=300 $(BIN)/pytest --timeout 900 tests/features/test_api_fuzz.py
	env -u CI $(BIN)/pytest -n 2 --timeout 900 $$(grep -rl '@given' tests/unit)

check: $(VENV)/.dev    ## Format, lint, types, import contracts, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m portico.cli.reference --check
	$(BIN)/python -m tests.kit.rows --check

format: $(VENV)/.dev   ## Put the code into its one format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.dev     ## Write docs/reference from the code, docs/acceptance.md from the tests
	$(BIN)/python -m portico.cli.reference
	$(BIN)/python -m tests.kit.rows

bench: $(COMPILED)/.done ## Our own figures: requests, connections, bulk, memory, recovery
	@./tests/kit/install-parts
	PYTHONPATH=$(COMPILED) $(BIN)/python -m benchmarks

bench-peers: $(COMPILED)/.done ## Peers beside us, built from their registries: tunnels, then gateways
	@./tests/kit/install-parts
	PYTHONPATH=$(COMPILED) $(BIN)/python -m benchmarks.peers
	PYTHONPATH=$(COMPILED) $(BIN)/python -m benchmarks.gateways

lock: $(VENV)/.dev     ## Pin the dependencies anew
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-emit-index-url --extra edge \
		-o requirements/edge.lock pyproject.toml
	$(BIN)/uv pip compile -q --universal --generate-hashes --no-header --no-emit-index-url --extra edge --group dev \
		-c requirements/edge.lock -o requirements/dev.lock pyproject.toml

clean:           ## Remove the environment and what the demo left
	rm -rf $(VENV) .demo
