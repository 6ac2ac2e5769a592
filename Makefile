# DCFM. `make setup`, `make plan`, `make video`, `make test`, `make docs`, `make reproduce`; see README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.set-up

REPRODUCE ?= runs/reproduce
PARTS := cost toy planner ogbench images xray table

export OMP_NUM_THREADS ?= 1

.PHONY: help setup plan video test browser lint docs cards benchmark clean reproduce FORCE $(addprefix reproduce-,$(PARTS))

help:  ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/'

setup: $(STAMP)  ## make .venv with pinned dependencies and this package in it

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 12) else \
	  "DCFM needs Python 3.11 or 3.12 (OGBench needs labmaze, which has no wheels for others), $(PYTHON) is %d.%d; " \
	  "run: make setup PYTHON=python3.12" % sys.version_info[:2])'
	@echo "setup: installing the pinned dependencies into $(VENV) (some minutes)"
	@test -e $@ || $(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
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
	@$(BIN)/python -m pytest -n 3 --dist worksteal

browser: setup  ## fetch a headless Chromium (67 MB, npm) for the test that opens a report
	@.ci/browser

lint: setup  ## ruff and pyright
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright

docs: setup  ## build the documentation site into build/docs, warnings being errors
	@echo "docs: building build/docs/index.html"
	@$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going --builder html docs build/docs
	@echo "docs: done"

cards: setup  ## write the model cards of the shipped weights again
	@$(BIN)/python scripts/model_cards.py

benchmark: setup  ## print planning and evaluation speed on this machine
	@$(BIN)/python scripts/benchmark_planner.py

clean:  ## remove the environment and caches, nothing else
	rm -rf $(VENV) .pytest_cache .ruff_cache build dist *.egg-info

# Every table again; docs/reproduce.md says of each part what it runs, how long it took, and what to compare with.
define announce
	@grep -F '`make $@`' docs/reproduce.md | tr -d '`|' | sed 's/^ *//'
endef

reproduce:  ## all tables again: lists the parts and their durations, then runs them in order
	@grep '^| `make reproduce-' docs/reproduce.md | tr -d '`|' | sed 's/^ */  /'
	@for part in $(PARTS); do $(MAKE) --no-print-directory reproduce-$$part || exit; done

reproduce-cost: setup  ## Tables 3 and 4
	$(announce)
	@test -f $(REPRODUCE)/cost/cost.json || $(BIN)/python scripts/cost.py out=$(REPRODUCE)/cost

reproduce-toy: setup  ## the toy's table and figure
	$(announce)
	@$(BIN)/python scripts/toy.py 'seeds=[0,1,2,3,4]' out=$(REPRODUCE)/toy/benchmark
	@$(BIN)/python scripts/toy.py partition=noniid attributes=3 silos=3 distance=1.5 std=0.4 seed=7 \
	  'methods=[ddm_l,dcfm_a,dcfm_b]' out=$(REPRODUCE)/toy/three

EVALUATIONS := noniid-dcfm_b-paper noniid-dcfm_b-paper-seed1 noniid-dcfm_a-paper iid-dcfm_b-paper iid-dcfm_a-paper \
  noniid-dcfm_b-paper-joint noniid-dcfm_b-given noniid-dcfm_b-paper-controls
keys-noniid-dcfm_b-paper := partition=noniid trials=300
keys-noniid-dcfm_b-paper-seed1 := partition=noniid trials=300 seed=1
keys-noniid-dcfm_a-paper := partition=noniid method=dcfm_a trials=300
keys-iid-dcfm_b-paper := partition=iid trials=300
keys-iid-dcfm_a-paper := partition=iid method=dcfm_a trials=300
keys-noniid-dcfm_b-paper-joint := partition=noniid rule=joint trials=300
keys-noniid-dcfm_b-given := partition=noniid protocol=given controls=true trials=100
keys-noniid-dcfm_b-paper-controls := partition=noniid 'controls=[oracle,random,actions]' trials=100

# $(call evaluate,PARTITION/METHOD,COMMAND): nothing where the results of these shipped weights are there; where those of
# others are, the script says what to do.
define evaluate
	@weights=$$(sed -n 's/^ *"model.safetensors": "\(.*\)".*/\1/p' dcfm_planner/weights/cube-single/$(1)/artefact.json); \
	  grep -qsF "\"weights_sha256\": \"$$weights\"" $@ || $(BIN)/python $(2) out=$(@D)
endef

reproduce-planner: setup  ## README's table, from the shipped weights
	$(announce)
	@$(MAKE) --no-print-directory $(EVALUATIONS:%=$(REPRODUCE)/planner/%/metrics.json)

$(REPRODUCE)/planner/%/metrics.json: FORCE | setup
	$(call evaluate,$(word 1,$(subst -, ,$*))/$(word 2,$(subst -, ,$*)),scripts/plan_eval.py $(keys-$*))

reproduce-ogbench: setup  ## OGBench's own five tasks, from the shipped weights
	$(announce)
	@$(MAKE) --no-print-directory $(addprefix $(REPRODUCE)/ogbench/,$(addsuffix /metrics.json,dcfm_b dcfm_a))

$(REPRODUCE)/ogbench/%/metrics.json: FORCE | setup
	$(call evaluate,noniid/$*,scripts/ogbench_eval.py method=$*)

reproduce-images: setup  ## Colored MNIST, preset quick: train, judge, table
	$(announce)
	@$(BIN)/python scripts/images/train.py preset=quick partition=noniid out=$(REPRODUCE)/images/noniid/seed0
	@$(BIN)/python scripts/images/table.py train=false 'methods=[ddm_l,dcfm_a,dcfm_b]' 'partitions=[noniid]' each=50 \
	  evaluations=16 runs=$(REPRODUCE)/images

reproduce-xray: setup  ## chest X-rays, preset quick: train, judge, table
	$(announce)
	@$(BIN)/python scripts/xray/train.py preset=quick out=$(REPRODUCE)/xray/noniid/seed0
	@$(BIN)/python scripts/xray/table.py train=false runs=$(REPRODUCE)/xray

reproduce-table: setup  ## Table 2: all methods on the planner, trained and evaluated
	$(announce)
	@$(BIN)/python scripts/plan_table.py runs=$(REPRODUCE)/table
