# kalepool. `make run` mines on embedded defaults, `make test` checks everything, `make help` lists the rest.

PYTHON ?= python3
BLOCKS ?=
SECONDS ?=
SEED ?=
RAY ?=
BIN := .venv/bin
# Two workers mostly wait, for block after block (see tests/conftest.py): one more than there are cores.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
export UV_PYTHON_DOWNLOADS := never

.DEFAULT_GOAL := help
.PHONY: help setup run test test-ray test-containers chaos fuzz check audit clients generators fix lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready ## make .venv with everything, kalepool included
	@:

run: setup ## the whole pool on this machine until Ctrl-C (BLOCKS=3 stops after three blocks)
	@exec $(BIN)/kalepool up $(if $(BLOCKS),--blocks $(BLOCKS))

test: setup check generators ## lint, types, all tests but those of whole pools, and how much of the code they run
	@$(BIN)/python -m pytest -n $(WORKERS) -m "not ray and not pool and not container" --durations=10 --cov --cov-report=
	@$(BIN)/python tools/covered.py

test-ray: setup ## whole pools, most with a Ray, of which parts are killed, block after block
	@$(BIN)/python -m pytest -n 2 -m "ray or pool" --durations=5

test-containers: setup ## build the images and run deploy/compose.yaml (root, podman, debootstrap; ten minutes)
	@$(BIN)/python -m pytest -m container -rs -s

chaos: setup ## faults in every phase of a block for SECONDS (300), in the order of SEED (1); RAY=1 on a Ray too
	@$(BIN)/python -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(if $(RAY),--ray)

fuzz: setup ## the whole API and all property tests, 200 examples of each, others every time
	@KALEPOOL_FUZZ_EXAMPLES=200 $(BIN)/python -m pytest -n 2 tests/integration/api/test_fuzz.py tests/unit

check: setup ## formatting, lint, types, import direction, lock file
	@$(BIN)/python tools/check.py

audit: setup .venv/audit/.ready ## ask for known vulnerabilities of the locked dependencies (needs the network)
	@$(BIN)/python tools/audit.py

clients: setup .venv/clients/.ready ## generate clients of the API for Python and TypeScript, into build/clients
	@$(BIN)/python -m tools.clients build/clients

fix: setup ## format, mend what can be mended, and write docs/settings.md and tests/conformance/v1.txt
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(BIN)/python -m tools.settings_page
	@$(BIN)/python -m tools.promises

lock: setup ## resolve the dependencies of pyproject.toml again
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --group dev \
		--generate-hashes --no-header --upgrade pyproject.toml -o requirements.lock
	@echo pip-audit | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-header --upgrade - -o audit.lock
	@printf '%s\n' openapi-python-client stellar-sdk pycryptodome | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
		--generate-hashes --no-header --upgrade - -o clients.lock
	@$(BIN)/python -m tools.clients --lock
	@for image in "pool pyproject.toml --extra=traces" "worker --group=worker" "miner miner/pyproject.toml" "build --group=build"; do \
		set -- $$image; lock=$$1; shift; \
		$(BIN)/uv pip compile --quiet --python-platform linux --python-version 3.11 --generate-hashes --no-header \
			--constraint requirements.lock $$@ -o deploy/locks/$$lock.lock || exit 1; done

clean: ## remove .venv and caches (the pool's data stays)
	rm -rf .venv .coverage* .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "kalepool needs Python 3.11 or newer, but $(PYTHON) is $$($(PYTHON) --version 2>&1): try make PYTHON=python3.12" >&2; exit 1; }
	@echo "making .venv: a minute or two, 1 GB"
	@$(PYTHON) -m venv --clear .venv || \
		{ echo "$(PYTHON) has no venv: on Debian and Ubuntu, apt-get install python3-venv" >&2; rm -rf .venv; exit 1; }

.venv/.ready: .venv/bin/python pyproject.toml requirements.lock bootstrap.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r bootstrap.lock
	@$(BIN)/uv pip install --quiet --compile-bytecode --python .venv --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python .venv --no-build-isolation --no-deps -e .
	@touch $@

# In an environment of its own: what it needs is nothing the pool has to live with.
.venv/audit/.ready: .venv/.ready audit.lock
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv/audit
	@$(BIN)/uv pip install --quiet --python .venv/audit --require-hashes -r audit.lock
	@touch $@

# So is this. What generates clients comes from two indexes; where one is out of reach, the clients' test is skipped.
generators: .venv/.ready
	@$(MAKE) --no-print-directory .venv/clients/.ready || \
		echo "what generates clients of the API cannot be installed here: their test is skipped"

.venv/clients/.ready: .venv/.ready clients.lock examples/clients/package.json examples/clients/package-lock.json
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv/clients
	@$(BIN)/uv pip install --quiet --python .venv/clients --require-hashes -r clients.lock
	@$(BIN)/python -m tools.clients --install
	@touch $@
