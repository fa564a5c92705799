# The commands of this project. `make` alone lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SOURCES := src tests bench tools examples
BUILT_FROM := pyproject.toml tools/build_native.py $(wildcard src/postroom/*/*.[ch])
N ?= 2000
RUNS ?= 3
MINUTES ?= 10
PARALLEL ?= -n auto --dist worksteal
export PYTHONPATH := src:tests:.
# Compiled once, commands start a fifth faster.
export PYTHONDONTWRITEBYTECODE :=

help:  ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/'

run: $(VENV)/.installed  ## start everything with a demonstration mailbox
	@exec $(BIN)/postroom up --demo

test: $(VENV)/.developing  ## run all tests (real PostgreSQL, real Dovecot)
	@$(BIN)/python -m servers.fetch
	$(BIN)/pytest $(PARALLEL) $(ARGS)

lint: $(VENV)/.developing  ## formatting, ruff, types, import contracts, house rules
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/mypy src tests bench tools examples
	$(BIN)/lint-imports
	$(BIN)/pytest tests/house

check: lint  ## lint and the quick tests; before every commit
	@$(BIN)/python -m servers.fetch
	$(BIN)/pytest -m "not slow" --ignore tests/house $(PARALLEL) $(ARGS)

coverage: $(VENV)/.developing  ## lines and branches that the quick tests pass; of files that decide, all of them
	@$(BIN)/python -m servers.fetch
	$(BIN)/pytest -m "not slow" --ignore tests/house $(PARALLEL) --cov --cov-report= $(ARGS)
	@$(BIN)/coverage report --skip-covered | tail -1
	@$(BIN)/coverage report --show-missing --skip-covered --fail-under=100 --include=$$(grep -rlw Pure src --include='*.py' | paste -sd,)

bench: $(VENV)/.developing  ## measure, side by side with other tools
	@$(BIN)/python -m bench.run -n $(N) -r $(RUNS) $(ARGS)

fuzz: $(VENV)/.fuzzing  ## look for inputs that break the parsers; MINUTES=n
	$(BIN)/python -m fuzz.run --minutes $(MINUTES) $(ARGS)

probe: $(VENV)/.developing  ## ask the API at random whether it keeps to its document; MINUTES=n
	POSTROOM_PROBE_SECONDS=$$(($(MINUTES) * 60)) $(BIN)/pytest --timeout 0 tests/walls/test_document.py $(ARGS)

soak: $(VENV)/.developing  ## histories on all servers, with kills and cuts; MINUTES=n
	@$(BIN)/python -m servers.fetch
	@$(BIN)/python -m soak.run --minutes $(MINUTES) $(ARGS)

format: $(VENV)/.developing  ## let ruff format everything
	$(BIN)/ruff format $(SOURCES)
	$(BIN)/ruff check --fix $(SOURCES)

clean:  ## remove what the commands above made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .servers .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) tools/make_env.py $(VENV)

$(VENV)/.installed: $(BUILT_FROM) | $(VENV)/bin/python
	@echo "Installing postroom into $(VENV) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e .
	@touch $@

$(VENV)/.developing: $(BUILT_FROM) | $(VENV)/bin/python
	@echo "Installing postroom and its development tools into $(VENV) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.fuzzing: $(VENV)/.developing
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[dev,fuzz]'
	@touch $@

.PHONY: help run test lint check coverage bench fuzz probe soak format clean
.DEFAULT_GOAL := help
