# Concertino: every target does its own set-up in .venv.

VENV := .venv
BIN := $(VENV)/bin

# The first Python that is new enough and can make virtual environments.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

WHEEL_DIR := build/wheel

# Most tests wait for devices, processes and disks, and take a fifth of a processor: several run at a time, those of
# a file in one process, which needs 1 GiB. tests/conftest.py orders the files.
JOBS ?= 6
# A process that crashes ends the run: xdist waits for ever for the rest of its file.
PYTEST := -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --max-worker-restart 0 --durations 25
# In two runs: every RunEngine keeps its event loop's three descriptors until its process ends, and a process that
# has over 1,024 open can use no select(), as libraries of control systems do.
HALF := tests/plans tests/devices
OTHER_HALF := $(filter-out $(HALF) %/__pycache__ %/conftest.py,$(patsubst %/,%,$(wildcard tests/*/)) $(wildcard tests/test_*.py))

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format docs bench wheel wheel-test clean

help:
	@echo 'make demo        a real and a simulated scan: acquired, reconstructed live, replayed'
	@echo 'make test        the tests'
	@echo 'make lint        ruff, mypy, import contracts'
	@echo 'make format      let ruff write the files as lint wants them'
	@echo 'make docs        the documentation, its notebooks executed: docs/_build/html/index.html'
	@echo 'make bench       the benchmarks (minutes, best on a quiet machine)'
	@echo 'make wheel       build the wheel, try it without any extra: $(WHEEL_DIR)/dist, $(WHEEL_DIR)/venv'
	@echo 'make wheel-test  the same, then all tests on the wheel'
	@echo 'make setup       only the environment that these use: $(VENV)'
	@echo 'make clean       remove what these made'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo 'No Python 3.11 or newer that can make virtual environments:' \
		'install python3.11 and python3.11-venv, or say make PYTHON=/path/to/python' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade pip

# What a user gets; the stamp is younger than pyproject.toml when it is up to date.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -qq --editable '.[catalog,viewers]'
	@touch $@

# The same with everything for developers.
$(VENV)/.developed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -qq --editable '.[docs,jupyter,test]'
	@touch $@ $(VENV)/.installed

setup: $(VENV)/.developed

demo: $(VENV)/.installed
	$(BIN)/concertino demo

# The demonstration goes first: what numba compiles at first use, it compiles once for all that run at a time.
test: $(VENV)/.developed
	@echo 'Compiling what is compiled at first use.'
	@directory=$$(mktemp -d); trap 'rm -rf "$$directory"' EXIT; \
	$(BIN)/concertino demo --quiet -d "$$directory/demo" >"$$directory/said" 2>&1 || { cat "$$directory/said"; exit 1; }
ifdef PYTEST_ARGS
	$(BIN)/python $(PYTEST) $(PYTEST_ARGS)
else
	@code=0; for part in '$(HALF)' '$(OTHER_HALF)'; do $(BOUND) $(BIN)/python $(PYTEST) $$part || code=$$?; done; exit $$code
endif

lint: $(VENV)/.developed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.developed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.developed
	$(BIN)/sphinx-build --fail-on-warning --keep-going --fresh-env --quiet \
		-b html docs docs/_build/html
	@echo 'Documentation: docs/_build/html/index.html'

bench: $(VENV)/.developed
	@for script in benchmarks/[a-z]*.py; do \
		echo "== $$script"; $(BIN)/python $$script || exit 1; done

# In an environment of its own, first without any extra, from a folder outside the checkout; then it gets what the
# tests need. `make test VENV=build/wheel/venv` runs them all on the wheel: from the checkout, where nothing but
# the environment holds a package of this name.
wheel: | $(BIN)/python
	rm -rf $(WHEEL_DIR) build/lib build/bdist.*
	$(BIN)/python -m pip wheel -qq --no-deps --wheel-dir $(WHEEL_DIR)/dist .
	$(BIN)/python -m venv $(WHEEL_DIR)/venv
	set -e; python=$(CURDIR)/$(WHEEL_DIR)/venv/bin/python; \
	wheel=$$(echo $(CURDIR)/$(WHEEL_DIR)/dist/*.whl); \
	copy=$$(mktemp -d); trap 'rm -rf "$$copy"' EXIT; \
	cp tests/extras/plain_install.py "$$copy"; cd "$$copy"; \
	$$python -m pip install -qq --upgrade pip; \
	$$python -m pip install -qq "$$wheel"; \
	$$python plain_install.py --measure; \
	$$python -m pip install -qq "$$wheel[test]"
	@touch $(WHEEL_DIR)/venv/.developed

wheel-test: wheel
	$(MAKE) test VENV=$(WHEEL_DIR)/venv

clean:
	rm -rf $(VENV) build dist docs/_build docs/reference/generated src/*.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
