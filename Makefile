# make demo, make test: each sets up what it needs, in .venv, from constraints.txt.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready
TOOLS  := $(VENV)/tools

.PHONY: demo demo-llm test lint format docs bench setup tools clean

demo: setup
	$(BIN)/cli demo

# The same with a real LLM in this process: make demo-llm GGUF=model.gguf, or without a file one of the hub's.
demo-llm: setup
	@echo "builds llama-cpp-python first, where it is not there yet: some ten minutes"
	$(BIN)/python -m pip install --quiet --editable '.[llama]'
	$(BIN)/cli demo --directory demo-llm --llm $(if $(GGUF),llama:$(GGUF),hub)

# A third of a test is waiting for a server or a process, so three at once keep two cores busy. Bytecode is kept even
# where the shell says otherwise: some hundred processes would compile the same files again.
test: export PYTHONDONTWRITEBYTECODE =
test: setup
	$(BIN)/python -m pytest -n 3 --dist worksteal

# What CI runs before the tests.
lint: tools
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy

format: tools
	$(BIN)/ruff check --fix --quiet .
	$(BIN)/ruff format --quiet .

docs: tools
	$(BIN)/zensical build --clean --strict

# One JSON object per line: name, value, unit, peers, ratio. lmdb and diskcache are peers only.
bench: setup
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt lmdb diskcache
	@for benchmark in tests/benchmarks/bench_*.py; do $(BIN)/python $$benchmark || exit 1; done

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "askonce needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $(READY)

tools: $(TOOLS)

$(TOOLS): $(READY)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[lint,docs]'
	@touch $(TOOLS)

clean:
	rm -rf $(VENV) build site *.egg-info
