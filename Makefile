# The two commands of the README, each with its whole set-up: `make bench` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: bench test lint types laws check browser peers clean

bench: $(VENV)/.installed
	$(BIN)/gapbench run quick
	$(BIN)/gapbench report

test: $(VENV)/.installed-dev browser lint types laws check

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

laws: $(VENV)/.installed-dev
	$(BIN)/lint-imports

# Two files at a time: most tests wait for processes of theirs.
check: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n 2 --dist loadfile

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
	@touch $@ $(VENV)/.installed

# gapbench beside its peers; takes about 15 minutes, and belongs on a machine without other work.
peers: $(VENV)/.installed-dev
	$(BIN)/pip install --quiet -c constraints.txt pyperf asv
	cd benchmarks && ../$(BIN)/python schedule.py && ../$(BIN)/python peers.py

clean:
	rm -rf $(VENV) dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
