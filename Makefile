# make demo   train a language model on text every machine has, look into it
# make test   lint, types, all tests
# make docs   write the pages that are made from docstrings
# make bench  time everything against torch.nn and others, about half an hour
# All set up .venv by themselves. PIP_FLAGS goes to pip, PYTHON names the interpreter.

PYTHON ?= python3
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/ready
BENCH_READY := $(VENV)/ready-bench

.PHONY: setup demo test lint bench docs clean
.DEFAULT_GOAL := test

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Ostinato needs Python 3.11 or newer; name one: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/ostinato demo

lint: $(READY)
	$(BIN)/ruff check src tests examples benchmarks docs/make_cells.py
	$(BIN)/ruff format --check src tests examples benchmarks docs/make_cells.py
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

# The page of equations, out of the cells' docstrings.
docs: $(READY)
	$(BIN)/python docs/make_cells.py

# Both tables are printed before either fails the command.
bench: $(BENCH_READY)
	@$(BIN)/python benchmarks/drop_in.py; first=$$?; $(BIN)/python benchmarks/native.py && exit $$first

$(BENCH_READY): $(READY)
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) -c constraints.txt -e '.[bench]'
	@touch $(BENCH_READY)

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
