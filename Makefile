# Every target works on a machine with only Python 3.11 or newer, venv and make. `setup` stamps .venv
# with the lock files, so that nothing is installed twice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help run setup test torture check fmt docs lock bench clean

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

run: $(VENV)/.run-stamp ## Serve with no configuration: meterhall quickstart.
	exec $(BIN)/meterhall quickstart

setup: $(VENV)/.run-stamp ## Install the locked run-time dependencies into .venv.

test: $(VENV)/.test-stamp ## Install what the tests need, then run the whole suite.
	sh tests/system-packages.sh
	$(BIN)/python -m pytest -q -n 2 --dist loadfile

torture: $(VENV)/.test-stamp ## Kill, cut power, damage every byte, refuse every call: the long forms. Half an hour and more.
	METERHALL_TORTURE=1 METERHALL_CRASH_ROUNDS=200 $(BIN)/python -m pytest -q -s --timeout 7200 \
		tests/tsdb/test_crash.py tests/tsdb/test_power_cut.py tests/tsdb/test_damage.py \
		tests/tsdb/test_refusing_disk.py

check: $(VENV)/.test-stamp ## Format, lint, types, import contracts.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(VENV)/.test-stamp ## Format and apply safe fixes.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .

bench: $(VENV)/.test-stamp ## Measure against the real peers and print the tables.
	$(BIN)/python -m bench

docs: $(VENV)/.run-stamp ## Write docs/reference from what the code declares.
	$(BIN)/python docs/reference/generate.py

lock: ## Renew requirements/*.txt, with hashes, from pyproject.toml.
	sh requirements/lock.sh

clean: ## Remove everything that make has made.
	rm -rf $(VENV) build src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.run-stamp: requirements/run.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --require-hashes -r requirements/run.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	-$(BIN)/python -m meterhall.compiled
	touch $@

$(VENV)/.test-stamp: $(VENV)/.run-stamp requirements/test.txt
	$(BIN)/pip install --quiet --require-hashes -r requirements/test.txt
	touch $@
