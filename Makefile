# DCFM. `make setup`, `make plan`, `make video`, `make test`; see README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up

export OMP_NUM_THREADS ?= 1

.PHONY: help setup plan video test lint benchmark clean

help:  ## say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

setup: $(STAMP)  ## make .venv with pinned dependencies and this package in it

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else \
	  "DCFM needs Python 3.11 or later, $(PYTHON) is %d.%d; run: make setup PYTHON=python3.12" % sys.version_info[:2])'
	@echo "setup: installing the pinned dependencies into $(VENV) (a minute or two)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
	@echo "setup: done"

plan: setup  ## evaluate the shipped non-IID planner in MuJoCo
	@echo "plan: python scripts/plan_eval.py partition=noniid"
	@$(BIN)/python scripts/plan_eval.py partition=noniid

video: setup  ## film the four diagonal moves by the shipped planner
	@echo "video: python scripts/record_video.py"
	@$(BIN)/python scripts/record_video.py

test: setup  ## run the tests
	@echo "test: running the tests"
	@$(BIN)/python -m pytest -n 2

lint: setup  ## ruff and pyright
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

benchmark: setup  ## print planning and evaluation speed on this machine
	@$(BIN)/python scripts/benchmark_planner.py

clean:  ## remove the environment and caches, nothing else
	rm -rf $(VENV) .pytest_cache .ruff_cache build dist *.egg-info
