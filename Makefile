# Needs make and a Python of 3.11 or later; everything else is installed into $(VENV) on demand.
#
#   PYTHON=python3.12   interpreter for the virtual environment
#   VENV=.venv          where it lies
#   SEEDS=1000 SEED=n   how many seeds `make sim` runs, of all scenarios together, or from which one
#   NODES=3             `make demo` runs on so many nodes and kills the first one
#   MINUTES=30 SEED=n   how long `make soak` lasts, and what its faults follow from
#   VS=ray              what `make bench` measures beside zgen

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv

PY := $(VENV)/bin/python
PIP_INSTALL := $(PY) -m pip install --quiet --disable-pip-version-check
# What builds zgen has been installed by its hash before: nothing is fetched for it.
PIP_EDITABLE := $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
# As pip does for a wheel: where Python is told to write no bytecode, each of a node's processes would compile anew.
COMPILE := $(PY) -m compileall -q
PYTEST := $(PY) -X dev -m pytest
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)

# Stamps carry the Python version, so that another PYTHON makes a new environment.
MADE := $(VENV)/.made-$(VERSION)
RUNTIME := $(VENV)/.runtime-$(VERSION)
DEV := $(VENV)/.dev-$(VERSION)

STEPS := lint+layers unit-1,types,docs,sim-tests-1+unit-2,sim-tests-2 coverage sim mutants-recorded \
	integration-1,wheel+integration-2,chaos-quick
# Two halves of the integration tests, that wait more than they compute, side by side.
HALF := $(wildcard tests/integration/test_[a-m]*.py)
OTHER_HALF := $(filter-out $(HALF),$(wildcard tests/integration/test_*.py))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test dev hooks fmt lint types layers unit unit-1 unit-2 coverage sim-tests sim-tests-1 sim-tests-2 sim integration integration-1 \
	integration-2 conformance chaos chaos-quick faults soak bench docs wheel mutants mutants-recorded clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(RUNTIME) ## set up what is missing, then show the main job with workers killed under it, or NODES=3
	$(PY) scripts/demo.py $(if $(NODES),--nodes $(NODES))

test: $(DEV) ## set up what is missing, then all that CI runs, each step with its seconds
	@MAKE='$(MAKE)' $(PY) scripts/run_steps.py $(STEPS)

# --- set-up ------------------------------------------------------------------------------------

$(MADE):
	@test -n "$(VERSION)" || { \
		echo "zgen needs Python 3.11 or later; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# The demo needs three packages; a venv that has the development tools already has them too.
$(RUNTIME): $(MADE) pyproject.toml requirements-run.txt
	@test $(DEV) -nt pyproject.toml -a $(DEV) -nt requirements-run.txt || \
		{ $(PIP_INSTALL) --require-hashes -r requirements-run.txt && $(PIP_EDITABLE); }
	@$(COMPILE) zgen node
	@touch $@

$(DEV): $(MADE) pyproject.toml requirements-dev.txt
	$(PIP_INSTALL) --require-hashes -r requirements-dev.txt
	$(PIP_EDITABLE)
	@$(COMPILE) zgen node scripts
	@touch $@

dev: $(DEV) hooks ## virtual environment, editable install with the development tools, git hooks

hooks: $(DEV)
	@if git rev-parse --git-dir >/dev/null 2>&1; then $(VENV)/bin/pre-commit install || \
		echo "git hooks not installed; run '$(VENV)/bin/pre-commit run' yourself"; fi

# --- checks, cheap ones first ------------------------------------------------------------------

fmt: $(DEV) ## format, fix what ruff can fix, bring the code map up to date
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .
	$(PY) scripts/code_map.py
	$(PY) scripts/reference.py

lint: $(DEV) ## ruff, codespell and the house rules of scripts/tidy.py
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(VENV)/bin/codespell
	$(PY) scripts/tidy.py

types: $(DEV) ## mypy strict over everything, tests too
	$(PY) -m mypy

layers: $(DEV) ## import contracts: the floors of ARCHITECTURE.md
	$(VENV)/bin/lint-imports

unit: unit-1 unit-2 coverage ## unit, model, project and typing tests; branch coverage of the pure floors

# Two halves that run side by side.
unit-1: $(DEV)
	$(PY) -X dev -m coverage run --data-file=.coverage.unit-1 -m pytest tests/unit/core tests/unit/wire

unit-2: $(DEV)
	$(PY) -X dev -m coverage run --data-file=.coverage.unit-2 -m pytest \
		$(filter-out tests/unit/core/ tests/unit/wire/,$(wildcard tests/unit/*/)) \
		$(wildcard tests/unit/test_*.py) tests/model tests/project tests/typing

coverage: $(DEV)
	$(PY) -m coverage combine .coverage.unit-1 .coverage.unit-2
	$(PY) -m coverage report

sim-tests: $(DEV) ## what the simulator is made of: sessions, damage, determinism, transcripts
	$(PYTEST) tests/sim

# Two halves that run side by side.
sim-tests-1: $(DEV)
	$(PYTEST) $(wildcard tests/sim/test_[a-m]*.py) -m 'not slow'

sim-tests-2: $(DEV)
	$(PYTEST) $(wildcard tests/sim/test_[n-z]*.py) -m 'not slow'

sim: $(DEV) ## the simulator: each scenario its share of SEEDS seeds, or of some 200
	$(PY) scripts/sim.py $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SEED),--seed $(SEED))

mutants-recorded: $(DEV)
	$(PY) scripts/mutants.py

mutants: $(DEV) ## search for seeds that kill each mutant
	$(PY) scripts/mutants.py --search

integration: $(DEV) ## real sockets and real processes
	$(PYTEST) tests/integration tests/conformance -m 'not ray'

conformance: $(DEV) ## programs that must run on zgen as they run on Ray, which is installed apart
	$(PY) -m scripts.benchmark.ray_venv
	$(PYTEST) tests/conformance

integration-1: $(DEV)
	$(PYTEST) $(HALF) -m 'not slow'

integration-2: $(DEV)
	$(PYTEST) $(OTHER_HALF) tests/conformance -m 'not ray and not slow'

chaos-quick: $(DEV)
	$(PYTEST) tests/chaos -m 'not slow'

chaos: $(DEV) ## real kills, pauses, full disks, slow links
	$(PYTEST) tests/chaos

docs: $(DEV) ## links of every document, and its Python blocks executed
	$(PY) scripts/reference.py --check
	$(PY) scripts/ray_table.py --check
	$(PY) scripts/compare_table.py --check
	$(PY) scripts/docs_check.py

wheel: $(DEV) ## sdist, wheel from it, clean environment, import from /
	$(PY) scripts/wheel_check.py

faults: $(DEV) ## faults made on purpose, with figures; half an hour, as root for those of links
	$(PY) -m scripts.faults

soak: $(DEV) ## mixed work on four nodes under faults for MINUTES=30, every item checked; as root for cuts of links
	$(PY) -m scripts.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

bench: $(DEV) ## the benchmark; VS=ray measures Ray beside it in a venv of its own
	$(PY) scripts/bench.py $(if $(VS),--vs $(VS))

clean: ## remove what was built
	rm -rf $(VENV) build dist site htmlcov .coverage .coverage.* .bench
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find zgen node tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
