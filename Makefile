# `make` alone lists the targets. PYTHON=python3.12 make setup selects a Python; the default is the
# first suitable one.

VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
LOCK_VENV := .cache/lock
LOWEST_VENV := .cache/lowest
# Tests with servers that exercise every client library: Kafka, Redis, files, pages.
LOWEST_SERVER_TESTS := tests/test_end_to_end.py tests/livesegments/operations/test_export.py \
	tests/livesegments/cli/test_cli_service.py tests/livesegments/test_redis_cluster.py
# LOCK_OPTIONS=--upgrade selects the newest versions; without it, pins stay wherever possible.
LOCK_OPTIONS ?=
COMPILE = $(LOCK_VENV)/bin/uv pip compile pyproject.toml --quiet --universal --fork-strategy fewest \
	--python-version 3.11 --generate-hashes --custom-compile-command 'make lock'
# Number of parallel test processes, each with servers of its own; 0: one file after another.
PROCESSES ?= 5
# Options of the exploration: number of runs, first seed.
EXPLORE_OPTIONS ?= --runs 5000

# Hundreds of Python processes start in a run, and pytest rewrites every module of the tests: keep
# the bytecode, whatever the environment asks for.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup servers demo collect test test-quick test-lowest check explore soak bench docs lint lock clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(VENV)/.installed ## Create .venv with the locked dependencies

$(VENV)/.dependencies: requirements.lock
	python=$$(scripts/find-python) && "$$python" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.installed: $(VENV)/.dependencies pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

servers: setup ## Install what the tests need to run Apache Kafka, Redis, PostgreSQL and Prometheus
	scripts/install-servers
	$(BIN)/python -m tests.servers

demo: setup ## Run everything on this machine, on real purchases, without servers or Docker
	$(BIN)/livesegments demo

collect: setup servers ## Import all tests once, so that parallel processes find them compiled
	$(BIN)/python -m pytest --collect-only --quiet >/dev/null

test: setup servers ## Run all tests, against Apache Kafka and Redis
	$(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile --no-loadscope-reorder

test-quick: setup ## Run the tests that need no servers
	$(BIN)/python -m pytest -m "not servers" -n $(PROCESSES) --dist worksteal

check: lint test-quick ## Run before each commit: style, types and quick tests

test-lowest: $(LOWEST_VENV)/.installed servers ## Run tests with the lowest versions that pyproject.toml allows
	$(LOWEST_VENV)/bin/python -m pytest -n $(PROCESSES) --dist worksteal -m "not servers" $(LOWEST_OPTIONS)
	$(LOWEST_VENV)/bin/python -m pytest -n $(PROCESSES) --dist loadfile $(LOWEST_SERVER_TESTS) $(LOWEST_OPTIONS)

$(LOWEST_VENV)/.installed: pyproject.toml $(LOCK_VENV)/bin/uv
	python=$$(scripts/find-python) && "$$python" -m venv --clear $(LOWEST_VENV)
	$(LOCK_VENV)/bin/uv pip compile pyproject.toml --quiet --extra files --extra excel --extra ingest --extra serve --extra demo --extra dev --resolution lowest-direct \
		--python $(LOWEST_VENV)/bin/python --output-file $(LOWEST_VENV)/requirements.txt
	$(LOCK_VENV)/bin/uv pip install --quiet --python $(LOWEST_VENV)/bin/python \
		-r $(LOWEST_VENV)/requirements.txt
	$(LOCK_VENV)/bin/uv pip install --quiet --python $(LOWEST_VENV)/bin/python \
		--no-deps --no-build-isolation -e .
	@touch $@

explore: setup ## Run many more seeds of the simulation, and examples of properties, than the tests do
	$(BIN)/python -m pytest -m "hypothesis and not servers" --hypothesis-profile explore --timeout 3600 -n auto --dist worksteal
	LIVESEGMENTS_SIMULATION_RUNS=200 $(BIN)/python -m pytest tests/simulation/test_verify_at_work.py --timeout 3600 -n auto
	$(BIN)/python -m tests.simulation $(EXPLORE_OPTIONS)

soak: setup servers ## Inject faults into workers and servers under load for a quarter of an hour, and verify
	$(BIN)/python -m tests.soak $(SOAK_OPTIONS)

bench: setup servers ## Run the benches and compare with the committed figures
	$(BIN)/python -m bench

docs: setup ## Regenerate the contract, docs/metrics.md and the Grafana dashboards
	$(BIN)/python -m livesegments.contracts.asyncapi
	$(BIN)/python -m livesegments.monitoring.generate_docs
	$(BIN)/python -m deploy.grafana

lint: setup ## Check style and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

$(LOCK_VENV)/bin/uv: Makefile
	python=$$(scripts/find-python) && "$$python" -m venv --clear $(LOCK_VENV)
	$(LOCK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@touch $@

lock: $(LOCK_VENV)/bin/uv ## Pin all dependencies again: requirements.lock, and the images' parts of it
	$(COMPILE) --extra files --extra excel --extra ingest --extra serve --extra demo --extra dev --output-file requirements.lock $(LOCK_OPTIONS)
	$(COMPILE) --extra files --constraint requirements.lock --output-file requirements-worker.lock $(LOCK_OPTIONS)
	$(COMPILE) --extra files --extra ingest --constraint requirements.lock --output-file requirements-ingest.lock $(LOCK_OPTIONS)
	$(COMPILE) --extra files --extra serve --constraint requirements.lock --output-file requirements-serve.lock $(LOCK_OPTIONS)

clean: ## Remove everything that was built
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
