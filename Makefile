# Headway: every target sets itself up on a machine with Python 3.11, pip and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONSTRAINTS := constraints/py311-cpu.txt
# Extra arguments for pip, for example an index with CPU builds of torch.
PIP_ARGS ?=
# What `make serve` serves, and further flags: make serve MODEL=path/to/model ARGS="--port 9000"
MODEL ?=
ARGS ?=
TESTS ?=
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup serve test check slow bench fast wheel clean

help:  ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-7s %s\n", $$1, $$2}'

setup: $(VENV)/.dev  ## Create the virtual environment with everything for development

serve: $(VENV)/.serve  ## Serve a model (the shipped one, or MODEL=path) on http://127.0.0.1:8000
	@exec $(BIN)/headway serve $(MODEL) $(ARGS)

test: $(VENV)/.dev  ## Run the tests (TESTS=path for some)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) $(TESTS)

check: $(VENV)/.dev  ## Check format, lint, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

slow: $(VENV)/.dev  ## Run the slow tests
	$(BIN)/python -m pytest -m slow $(TESTS)

bench: $(VENV)/.dev  ## Run the benchmarks, one after the other
	@for file in benchmarks/[a-z]*.py; do \
		part=; [ $$file != benchmarks/fidelity.py ] || part=closed; \
		echo "== $$file $$part"; $(BIN)/python $$file $$part || exit 1; \
	done

fast: $(VENV)/.dev  ## Compile the heart of the simulator, after a change of it
	@$(BIN)/python tools/compile.py

wheel: $(VENV)/.dev  ## Build a wheel with compiled kernels for this Python and torch, in dist/
	HEADWAY_WHEEL_NATIVE=1 $(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w dist .

clean:  ## Remove the virtual environment and all caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_ARGS) -c $(CONSTRAINTS) -e ".[serve,plan]"
	@touch $@

$(VENV)/.dev: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_ARGS) -c $(CONSTRAINTS) -e ".[dev]"
	@$(BIN)/python tools/compile.py --optional
	@touch $@ $(VENV)/.serve
