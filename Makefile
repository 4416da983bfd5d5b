# opdkit's own chores. `make` alone lists them.
VENV ?= .venv
BENCH_VENV ?= .venv-bench
PYTHON ?= python3
# CONSTRAINTS=/dev/null takes the newest of everything; Python 3.10 needs that.
export CONSTRAINTS ?= constraints.txt
# Processes that share the fast tests, one thread each.
TEST_PROCESSES ?= 2
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all test-vllm lint type check bench wheel-smoke docs clean

help:  ## list what can be done
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) torch
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[dev]'
	touch $@

install: $(INSTALLED)  ## make a virtual environment and install opdkit with its tools into it

demo: install  ## install, then train the embedded student from its teacher (minutes on 2 cores)
	$(BIN)/opdkit train

test: install  ## the fast tests (at most ten minutes on 2 cores)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(TEST_PROCESSES) --dist worksteal -m "not slow and not peer"

test-all: install  ## every test, the slow ones too
	$(BIN)/python -m pytest -q -m "not peer"

test-vllm: install  ## the tests against a real vLLM: OPDKIT_VLLM_PYTHON=ENV/bin/python (docs/serving.md says how)
	test -n "$$OPDKIT_VLLM_PYTHON" || { echo 'OPDKIT_VLLM_PYTHON names no interpreter with vLLM'; exit 2; }
	$(BIN)/python -m pytest -q -m slow tests/serving/test_vllm_real.py tests/text/test_vllm.py

lint: install  ## ruff: rules and format; the order of the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo

type: install  ## pyright
	$(BIN)/pyright --pythonpath $(BIN)/python

check: test  ## the tests, then every experiment composed and bound without loading a weight
	$(BIN)/opdkit check

bench: install  ## opdkit's update phase and heads beside TRL's, whole runs in two ways, as ratios in one run
	test -x $(BENCH_VENV)/bin/python || $(PYTHON) -m venv $(BENCH_VENV)
	$(BENCH_VENV)/bin/python -m pip install --quiet --constraint $(CONSTRAINTS) torch
	$(BENCH_VENV)/bin/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[bench,serve]'
	$(BENCH_VENV)/bin/python -m pip install --quiet --constraint $(CONSTRAINTS) --no-deps liger-kernel
	$(BENCH_VENV)/bin/python -m benchmarks $(BENCH_ARGS)
	$(BENCH_VENV)/bin/python -m benchmarks.served
	$(BENCH_VENV)/bin/python -m benchmarks.running
	$(BENCH_VENV)/bin/python -m benchmarks.packing

docs: install  ## build the site into build/site, strictly
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

wheel-smoke: install  ## build the wheel, install it in a clean environment, run it from another folder
	$(BIN)/python scripts/wheel_smoke.py

clean:  ## remove what was built (environments stay)
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
