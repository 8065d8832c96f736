# Concertino: every target does its own set-up in .venv.

VENV := .venv
BIN := $(VENV)/bin

# The first Python that is new enough and can make virtual environments.
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done)

WHEEL_DIR := build/wheel

# Most tests wait for devices, processes and disks: several run at a time, those of a file in one process.
# tests/conftest.py orders the files.
JOBS ?= 4
# One that a busy machine disturbs is run again, and its first failure is listed; so are the slowest.
PYTEST := -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --reruns 2 --durations 25

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format docs bench wheel-test clean

help:
	@echo 'make demo        a real and a simulated scan: acquired, reconstructed live, replayed'
	@echo 'make test        the tests'
	@echo 'make lint        ruff, mypy, import contracts'
	@echo 'make format      let ruff write the files as lint wants them'
	@echo 'make docs        the documentation, its notebooks executed: docs/_build/html/index.html'
	@echo 'make bench       the benchmarks (minutes, best on a quiet machine)'
	@echo 'make wheel-test  build the wheel; test it in an environment of its own, without extras and with'
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

test: $(VENV)/.developed
	$(BIN)/python $(PYTEST) $(PYTEST_ARGS)

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

# First what the wheel does without any extra, then the tests with all of them. They run from a copy outside the
# checkout, so that only the wheel can be what they import.
wheel-test: $(VENV)/.developed
	rm -rf $(WHEEL_DIR) build/lib build/bdist.*
	$(BIN)/python -m build --wheel --outdir $(WHEEL_DIR)/dist
	$(BIN)/python -m venv $(WHEEL_DIR)/venv
	$(WHEEL_DIR)/venv/bin/python -m pip install -qq --upgrade pip
	set -e; python=$(CURDIR)/$(WHEEL_DIR)/venv/bin/python; \
	wheel=$$(echo $(CURDIR)/$(WHEEL_DIR)/dist/*.whl); \
	copy=$$(mktemp -d); trap 'rm -rf "$$copy"' EXIT; \
	cp -r tests pyproject.toml "$$copy"; cd "$$copy"; \
	$$python -m pip install -qq "$$wheel"; \
	$$python tests/extras/plain_install.py --measure; \
	$$python -m pip install -qq "$$wheel[test]"; \
	$$python $(PYTEST) -m 'not checkout' $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) build dist docs/_build docs/reference/generated src/*.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
