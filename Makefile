# make demo, make test: each sets up what it needs, in .venv, from constraints.txt.
PYTHON ?= python3
VENV   := .venv
READY  := $(VENV)/ready

.PHONY: demo test bench setup clean

demo: setup
	$(VENV)/bin/cli demo

test: setup
	$(VENV)/bin/python -m pytest -n 2

# One JSON object per line: name, value, unit, peers, ratio. lmdb and diskcache are peers only.
bench: setup
	@$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt lmdb diskcache
	@for benchmark in tests/benchmarks/bench_*.py; do $(VENV)/bin/python $$benchmark || exit 1; done

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "askonce needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $(READY)

clean:
	rm -rf $(VENV) build *.egg-info
