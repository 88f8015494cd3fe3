# Everything runs in .venv, which any target makes by itself from Python 3.11 and the package registry.
PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
LEAN   := $(VENV)/.lean
READY  := $(VENV)/.ready
EMULATOR := $(VENV)/.emulator
STORE  ?= .cosmic/store
WHAT   ?=
SCALE  ?= small
FILES  ?=
# Two test processes, each with a Prefect server and an emulator of its own; a file's tests stay together, the longest
# files first (tests/conftest.py). A third process gains nothing on two cores, and waits inside tests grow long.
SPREAD ?= -n 2 --dist loadfile --no-loadscope-reorder
# Python keeps what it has compiled: hundreds of processes of the tests would compile the same modules each.
unexport PYTHONDONTWRITEBYTECODE

# Installs with a line that counts packages, in place of silence or of a line for each.
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -c constraints.txt -e
COUNTED = awk '/^ *(Obtaining|Collecting) /{n++; if (n % 10 == 0) {printf "  %d packages found\n", n; fflush()}} \
	/^Installing collected/{print "  installing them"; fflush()} /^Successfully installed/{ok = 1} END{exit !ok}'

.DEFAULT_GOAL := help
.PHONY: help demo check test bench reproduce soak ui docs lint format clean

help:
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(LEAN): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "cosmic-flows needs Python 3.11 to 3.13: install it, or name yours with make PYTHON=..."; exit 2; }
	@echo "Setting up $(VENV) (once; a few minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) . | $(COUNTED)
	@$(BIN)/python -m compileall -q flows tasks inference # as pip does with all else: the first command would wait for it
	@touch $@

# What tests and training need, torch among it.
$(READY): $(LEAN)
	@echo "Adding the tools of development to $(VENV) (once)"
	@$(INSTALL) '.[dev]' | $(COUNTED)
	@touch $@

demo: $(LEAN) ## a simulated survey through a real fan-out: redshifts, table, bill, report
	@rm -rf $(STORE)/cosmicai-demo/survey
	$(BIN)/cosmic init cosmicai-demo --store $(STORE)
	$(BIN)/cosmic simulate --samples 3000 --seed 7 --out .cosmic/survey.pt
	$(BIN)/cosmic partition .cosmic/survey.pt --samples 375 --to $(STORE)/cosmicai-demo/survey
	$(BIN)/cosmic run deployments/demo/request.json --store $(STORE)

check: $(READY) lint ## lint, types and the fast tests: a few minutes, for every commit
	@$(BIN)/python -m pytest $(SPREAD)

test: $(READY) lint ## everything that must hold before a push
	@$(BIN)/python -m pytest $(SPREAD) -m 'not soak' -ra

bench: $(READY) ## measure, and write the tables under benchmarks/results (WHAT=name runs one part)
	@$(BIN)/python -m benchmarks $(WHAT)

soak: $(READY) ## the long proofs, and all journeys, with a table at the end (FILES="..." runs some)
	@$(BIN)/python -m tests.support.soak $(FILES)

# The emulator takes 26 MB more than the demo needs, and no torch.
$(EMULATOR): $(LEAN)
	@echo "Adding the AWS emulator to $(VENV) (once)"
	@$(INSTALL) '.[emulator]' | $(COUNTED)
	@touch $@

reproduce: $(EMULATOR) ## the class report's tables and plots beside ours, in ten minutes (SCALE=report, SCALE=full)
	@$(BIN)/cosmic reproduce --scale $(SCALE) --store $(STORE)

ui: $(LEAN) ## a Prefect server on http://127.0.0.1:4200, where runs appear from then on
	@$(BIN)/cosmic ui

docs: $(READY) ## the documentation as a site in .cosmic/site; links are checked
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet

lint: $(READY) ## ruff and the type checker
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: $(READY) ## put the sources into the house's form
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

clean: ## remove what was built (the environment, caches and the demo's store)
	rm -rf $(VENV) .cosmic build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -f inference/weights/*.onnx
