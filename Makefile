# What is done with this repository. Needs git, make and Python 3.11 or newer with venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
INSTALLED := $(VENV)/.installed
# Two a core: the tests wait for other processes half of their time. An idle one takes over from a busy one.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(2 * (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2))')
# What asks redis-server itself, and what connects to it, over TCP or a Unix socket. The rest of the suite talks to no
# server, asks it nothing of its own, or starts servers of its own.
TCP_TESTS := tests/ledger tests/worker tests/integration --ignore=tests/integration/test_embedded.py
SOCKET_TESTS := $(addprefix tests/cli/test_,doctor.py fleet.py scheduling.py up_down.py) \
  tests/integration --ignore=tests/integration/test_embedded.py

.PHONY: help install editor demo test test-long test-redis fault fault-compare lint types imports stale check bench million lock schema docs wheel site clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: $(PYTHON) is older than Python 3.11" >&2; \
	    echo "hint: make PYTHON=python3.11 (or newer) after installing it" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "error: this Python lacks venv or ensurepip" >&2; \
	    echo "hint: on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(INSTALLED): $(PY) requirements.lock pyproject.toml
	@echo "installing into $(VENV) what requirements.lock names"
	@$(PY) -m pip install -qq --disable-pip-version-check --require-hashes -r requirements.lock
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

install: $(INSTALLED)  ## Make .venv with everything that requirements.lock names

demo: $(INSTALLED)  ## Show the runner at work
	@$(PY) -m examples.demo

test: $(INSTALLED)  ## Run the tests on the embedded server
	$(PY) -m pytest -q -n $(WORKERS) --dist worksteal -m "not long"

test-long: $(INSTALLED)  ## Run the tests that take a minute each: all that the docs say is typed, fuzzing, pre-commit
	$(PY) -m pytest -q -n $(WORKERS) --dist worksteal -m long

test-redis: $(INSTALLED)  ## Run the tests that need a server on redis-server: TCP with a password, Unix socket
	RUNNER_TEST_SERVER=redis-tcp $(PY) -m pytest -q -n $(WORKERS) --dist worksteal -m "not long" $(TCP_TESTS)
	RUNNER_TEST_SERVER=redis-unix $(PY) -m pytest -q -n $(WORKERS) --dist worksteal -m "not long" $(SOCKET_TESTS)

fault: $(INSTALLED)  ## Attack workers and Redis: kills, freezes, cuts, forgeries; prints a table (ten minutes on 4 cores; FAULT=--help)
	$(PY) -m tests.fault $(FAULT)

fault-compare: $(INSTALLED)  ## The same attacks on stock Celery with its best settings, for comparison
	$(PY) -m tests.fault --system celery $(FAULT)

editor: $(INSTALLED)  ## Install yaml-language-server into .venv, for the tests of what editors show (needs npm)
	@mkdir -p $(VENV)/node
	@echo '{"private": true}' > $(VENV)/node/package.json
	npm install --prefix $(VENV)/node --no-audit --no-fund --loglevel=error yaml-language-server@1.25.0

lint: $(INSTALLED)  ## Check style and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(INSTALLED)  ## Check types
	$(BIN)/mypy

imports: $(INSTALLED)  ## Check that imports point down
	$(BIN)/lint-imports

stale: $(INSTALLED)  ## Check that generated files are as generated
	$(BIN)/runner schema jobs | diff -u schema/jobs.schema.json - || { echo "hint: make schema" >&2; exit 1; }
	$(BIN)/runner schema runner | diff -u schema/runner.schema.json - || { echo "hint: make schema" >&2; exit 1; }
	$(PY) docs/generate.py --check

check: lint types imports stale  ## All checks that run no tests

bench: $(INSTALLED)  ## Measure against Celery, in pairs in one run
	$(PY) -m benchmarks.all

million: $(INSTALLED)  ## Measure a ledger of a million runs: lists, memory, pruning (some 1.5 GB of memory)
	$(PY) -m benchmarks.million

lock: pyproject.toml  ## Resolve the dependencies anew
	@$(PYTHON) -m venv .venv/lock
	@.venv/lock/bin/pip install -qq --disable-pip-version-check 'uv>=0.5'
	.venv/lock/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --quiet -o requirements.lock
	@rm -rf .venv/lock

site: $(INSTALLED)  ## Build the documentation as a site, with search, into site/; a broken link fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

schema: $(INSTALLED)  ## Write schema/*.json out of the model
	$(BIN)/runner schema jobs > schema/jobs.schema.json
	$(BIN)/runner schema runner > schema/runner.schema.json

docs: $(INSTALLED)  ## Write docs/reference out of the model and the commands
	$(PY) docs/generate.py

wheel: $(INSTALLED)  ## Build dist/*.whl
	@rm -rf dist
	$(PY) -m pip wheel -qq --disable-pip-version-check --no-deps --no-build-isolation -w dist .

clean:  ## Remove what was made, but not .runner: that is data
	rm -rf $(VENV) dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
