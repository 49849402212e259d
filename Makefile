# One line a target; `make help` lists them.
PYTHON ?= python3
VENV := .venv
PEERS := .venv-peers
EXAMPLES := .venv-examples
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UV_VERSION := 0.13.9
# Tests wait for other processes about as long as they compute, so four at once keep two cores busy.
WORKERS := 4
export UV_PYTHON_DOWNLOADS := never
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# What was compiled once is kept, whatever the shell says: else each of the tests' processes compiles it all anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo test check soak peers examples lock clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## Build the environment in .venv

$(STAMP): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "pilothouse needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Run: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null || $(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	PATH="$(BIN):$$PATH" uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.txt
	PATH="$(BIN):$$PATH" uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: setup ## Two full turns of the flywheel, from rules to verdict
	@$(BIN)/pilothouse demo

check: setup ## Lint, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check ## Everything that must hold: check, then all tests
	$(BIN)/pytest -n $(WORKERS) --dist worksteal

soak: setup ## The long runs that `make test` leaves out, one after the other
	$(BIN)/pytest -m soak -p no:xdist -v -s --durations=0 --durations-min=1

peers: $(PEERS)/.installed ## What `pilothouse bench fleet --peers` and `bench loop --parts peer` measure, in .venv-peers

$(PEERS)/.installed: $(STAMP) requirements-peers.txt
	$(PYTHON) -m venv $(PEERS)
	PATH="$(BIN):$$PATH" uv pip sync --quiet --python $(PEERS)/bin/python --require-hashes requirements-peers.txt
	@touch $@

examples: $(EXAMPLES)/.installed ## PyTorch for examples/pytorch, some gigabytes, in .venv-examples

$(EXAMPLES)/.installed: $(STAMP) requirements-examples.txt
	$(PYTHON) -m venv $(EXAMPLES)
	PATH="$(BIN):$$PATH" uv pip sync --quiet --python $(EXAMPLES)/bin/python --require-hashes requirements-examples.txt
	@touch $@

lock: setup ## Choose the versions anew and write the requirements files
	PATH="$(BIN):$$PATH" uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate --extra bench --extra optuna --extra postgres --extra programs --group dev pyproject.toml -o requirements.txt
	PATH="$(BIN):$$PATH" uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate --group peers -o requirements-peers.txt
	PATH="$(BIN):$$PATH" uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-annotate --group examples -o requirements-examples.txt

clean: ## Remove what the targets above made, but for .pilothouse, which holds your results
	rm -rf $(VENV) $(PEERS) $(EXAMPLES) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
