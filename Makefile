# Everything a developer runs. Needs Python 3.11 or later and a package registry; all else goes to .venv.

PYTHON ?= python3
PORT ?=

# Some shells export HOST as the name of the machine, so only `make run HOST=...` counts.
ifeq ($(origin HOST),environment)
HOST :=
endif

# Which random histories `make simulation` tells: so many, or as many as there is time for.
SEED ?= 1
SEEDS ?= 2000
MINUTES ?=

# How many requests `make fuzz` sends; SEED says which.
REQUESTS ?= 20000

# How many usage records `make scale` puts into each ledger before it measures, and with which ids:
# "time-ordered" or "random", or both, one after the other.
FILLED ?= 10000000
IDS ?=

VENV := .venv/bin/python
PIP := $(VENV) -m pip install --quiet --disable-pip-version-check --require-hashes
CORE := .venv/core.stamp
DEV := .venv/dev.stamp
UV_LOCK := $(VENV) -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate

TESTS := $(VENV) -m pytest --quiet -rs --numprocesses auto --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help run test test-postgres bench scale clients crash processes tampering oracle simulation fuzz audits schema format lock explorer clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(CORE) ## Serve the demo from .data/demo (HOST=... and PORT=... choose the address)
	$(VENV) -m app.cli serve --demo --data .data/demo $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT))

test: $(DEV) ## Check format, lint and types, then run every test
	$(VENV) -m ruff format --check --quiet .
	$(VENV) -m ruff check --quiet .
	@echo '$(VENV) -m mypy, and meanwhile $(TESTS) --store both'
	@$(VENV) -m mypy >.venv/types.txt 2>&1 & types=$$!; \
		$(TESTS) --store both; tests=$$?; \
		wait $$types; types=$$?; cat .venv/types.txt; exit $$((tests || types))

# `make test` runs on PostgreSQL whatever opens a ledger, of the dearest tests some cases
# (`tests/marks.py`); here it is all of them.
test-postgres: $(DEV) ## Run every case on PostgreSQL, also those that `make test` leaves out (takes long)
	$(TESTS) --store postgres

bench: $(DEV) ## Measure the promises that have a figure
	$(VENV) -m tests.benchmarks

scale: $(DEV) ## Measure the writer with 10 million records in the ledger (FILLED=, IDS=; takes long)
	$(VENV) -m tests.benchmarks --only scale --filled $(FILLED) $(if $(IDS),--ids $(IDS))

clients: $(DEV) ## Let the clients of others ask a running server: audits and client suites (needs Node)
	$(VENV) -m tests.clients

crash: $(DEV) ## Kill a ledger under load 1,000 times and count what it lost or doubled (takes long)
	$(VENV) -m tests.app.crash --runs 1000

processes: $(DEV) ## Treat four processes on one PostgreSQL ledger badly, at length (needs PostgreSQL)
	$(VENV) -m tests.contract.fleet

tampering: $(DEV) ## Touch copies of a ledger in 10,000 places and see each one found (takes long)
	$(VENV) -m tests.app.tampering --cases 10000

oracle: $(DEV) ## Price 100,000 generated cases by a second set of rules, none a minor unit off
	$(VENV) -m tests.domain.oracle --cases 100000

simulation: $(DEV) ## Tell 2,000 random histories with crashes in them (SEED=, SEEDS=, MINUTES=; takes long)
	$(VENV) -m tests.simulation --seed $(SEED) --seeds $(SEEDS) $(if $(MINUTES),--minutes $(MINUTES))

fuzz: $(DEV) ## Send 20,000 hostile requests to a server (REQUESTS=, SEED=; takes long)
	$(VENV) -m tests.fuzz --requests $(REQUESTS) --seed $(SEED)
	$(VENV) -m tests.fuzz.by_schema --seed $(SEED)

audits: clients fuzz ## Ask as clients, auditors and attackers do: both of these (needs Node; takes long)

schema: $(CORE) ## Write the GraphQL schema to schema.graphql
	$(VENV) -m app.cli schema > .venv/schema.graphql
	mv .venv/schema.graphql schema.graphql

format: $(DEV) ## Format the code and mend what lint can mend
	$(VENV) -m ruff check --quiet --fix-only .
	$(VENV) -m ruff format --quiet .

lock: $(DEV) ## Resolve the dependencies in pyproject.toml anew, with hashes
	$(UV_LOCK) --upgrade pyproject.toml --output-file requirements.txt
	$(UV_LOCK) --upgrade --constraint requirements.txt pyproject.toml --extra parquet --extra duckdb --extra postgres --extra fast --group dev --output-file requirements-dev.txt
	$(UV_LOCK) --upgrade --constraint requirements-dev.txt pyproject.toml --extra postgres --extra fast --output-file app/deploy/requirements.txt
	$(UV_LOCK) --upgrade --group clients --output-file tests/clients/requirements.txt

explorer: ## Build the GraphiQL page into app/static (needs Node)
	cd app/explorer && npm ci && npm run build

clean: ## Remove the virtual environment, the demo data and every cache
	rm -rf .venv .data/demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis app/explorer/node_modules tests/clients/node_modules tests/clients/.venv
	find tests/clients -name __generated__ -type d -prune -exec rm -rf {} +
	find app domain projections tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment starts empty whenever the lock changes, so nothing a lock no longer names stays in it.
$(CORE): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Tallybook needs Python 3.11 or later as $(PYTHON); try: make PYTHON=python3.12 ...' >&2; exit 1; }
	$(PYTHON) -m venv --clear .venv
	$(PIP) -r requirements.txt
	@touch $@

# After the core and never beside it, so that `make -j` runs one pip at a time.
$(DEV): requirements-dev.txt $(CORE)
	$(PIP) -r requirements-dev.txt
	@touch $@
