# Two commands for users: `make demo` and `make test`. Everything happens in an environment of its own, .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# In force for every pip below, build environments included: nothing can swap torch for another build.
export PIP_CONSTRAINT := $(CURDIR)/constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test slow lint wheel bench clean

demo: $(VENV)/.runtime
	$(BIN)/scoreinv demo --out out/demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not slow"

slow: $(VENV)/.dev
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Beside what else is installed, on this machine; out/bench/bench.md is the table. Threads wait as under `scoreinv`.
bench: $(VENV)/.dev
	GOMP_SPINCOUNT=20000 $(BIN)/python tests/benchmarks/bench.py --out out/bench

# The built wheel, alone in a fresh environment outside the checkout, runs a small solve.
wheel: $(VENV)/.dev
	.ci/wheel $(BIN)/python

$(VENV)/.runtime: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/python -m pip install -q -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) build dist out *.egg-info
