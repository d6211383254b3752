# Each target has its whole set-up: `make bench` measures, `make quick` checks a change, `make test` everything.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: bench quick test lint types laws unit check nightly browser lock peers clean

bench: $(VENV)/.installed
	$(BIN)/gapbench run quick
	$(BIN)/gapbench report

quick: lint types laws unit

test: $(VENV)/.installed-dev browser lint types laws check

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

laws: $(VENV)/.installed-dev
	$(BIN)/lint-imports

# Rooms whose tests measure nothing: the arrays, the store and the declarations.
UNIT := tests/test_laws.py tests/repository tests/workloads tests/store tests/analysis tests/statistics tests/report/charts
unit: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -q -n 2 -m "not slow" --hypothesis-profile=quick --ignore=tests/store/test_s3.py $(UNIT)

# Two files at a time: most tests wait for processes of theirs.
check: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --durations=30

nightly: $(VENV)/.installed-dev browser
	$(BIN)/python -m pytest -n 2 --dist loadfile --hypothesis-profile=nightly

# The report's tests drive a real browser.
browser:
	@command -v chromium >/dev/null || { \
	  echo "installing chromium"; \
	  sudo=$$(command -v sudo || true); \
	  $$sudo apt-get update -qq && $$sudo apt-get install -qq -y chromium >/dev/null; }

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet --no-deps pytorchcv==0.0.74
	@touch $@ $(VENV)/.installed

# The tested set, renewed; the versions of torch and triton are those of pyproject.toml.
lock: $(VENV)/bin/python
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile pyproject.toml --extra dev --python-version 3.11 --no-annotate --upgrade --quiet \
	  --custom-compile-command "make lock" --output-file constraints.txt

# gapbench beside its peers; takes about 15 minutes, and belongs on a machine without other work.
peers: $(VENV)/.installed-dev
	$(BIN)/pip install --quiet -c constraints.txt pyperf asv
	cd benchmarks && ../$(BIN)/python schedule.py && ../$(BIN)/python peers.py

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
