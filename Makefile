# `make train` and `make test` need nothing but Python >= 3.11 and make; everything else is installed into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: install train test test-slow lint format docs clean

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "rlx needs Python 3.11 or newer, found $$($(PYTHON) --version): try make PYTHON=python3.12 …"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

install: $(VENV)/.installed

train: install
	$(BIN)/rlx train ppo

test: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile tests

# What takes long: whole runs, kills, learning, scripts, benchmarks and claims at their smallest size, further options of
# functions, and the wheel in an environment of its own.
test-slow: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist load -m slow tests

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

docs: install
	$(BIN)/rlx functions --markdown > docs/functions.md
	$(BIN)/python -m experiments.claims --markdown > docs/claims.md
	$(BIN)/python -m experiments.results

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache
