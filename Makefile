# Everything runs in .venv, made from requirements.lock with the system's Python and pip.

PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
STAMP := $(VENV)/.installed
PORT ?= 5000
VIZ_PORT ?= 4141
CONSTRAINTS := $(VENV)/constraints.txt
PINNED := --quiet --no-compile --require-hashes --no-deps
# SHA-256 of CPU builds of torch (for Python 3.11 on Linux), which the usual index does not have.
TORCH_CPU := 6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b
STORE := $(or $(MLFLOW_TRACKING_URI),sqlite:///$(CURDIR)/mlflow.db)

export PATH := $(BIN):$(PATH)
export DO_NOT_TRACK := 1
export KEDRO_DISABLE_TELEMETRY := 1
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install lock audit sbom run smoke long full bench test test-slow test-faults lint format docs repro ui viz clean clean-cache

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## Make .venv (other targets do it when needed)

# Files of other content than the locked hashes are refused, those that build packages, too.
$(STAMP): requirements.lock requirements-build.lock requirements-cuda.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PINNED) --requirement requirements-build.lock
	awk '/^[^ ]/ { on = /^torch==/ } on' requirements.lock >$(VENV)/torch.lock  # the index decides which build
	$(BIN)/python -m pip download --quiet --no-deps --dest $(VENV)/torch "$$(grep -o '^torch==[^ ]*' requirements.lock)"
	$(BIN)/python -m pip install $(PINNED) --no-index --find-links $(VENV)/torch --requirement $(VENV)/torch.lock
	rm -r $(VENV)/torch
	$(BIN)/python -m pip install $(PINNED) --no-build-isolation --use-pep517 --requirement requirements.lock
	$(BIN)/python -m pip check >$(VENV)/missing.txt || ! grep -qE 'requires (cuda|nvidia|triton)' $(VENV)/missing.txt \
		|| $(BIN)/python -m pip install $(PINNED) --requirement requirements-cuda.lock  # a GPU build of torch
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true  # what pip does by one core only
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	sed -n 's/^\([^ #]*==[^ ]*\).*/\1/p' requirements.lock >$(CONSTRAINTS)
	touch $@

run: $(STAMP)  ## Simulate, train, cache, distil, evaluate
	$(BIN)/kedro run --pipeline distill

smoke: $(STAMP)  ## The same, tiny: does everything hold together?
	$(BIN)/kedro run --pipeline distill --env smoke

long: $(STAMP)  ## The same networks, trained longer on more
	$(BIN)/kedro run --pipeline distill --env long

full: $(STAMP)  ## The same, large: for a GPU
	$(BIN)/kedro run --pipeline distill --env full

repro: $(STAMP)  ## Run what has changed, by DVC
	$(BIN)/dvc repro

bench: $(STAMP)  ## Time sweep, cache and student on this machine, after `make run`
	-$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[bench]'
	$(BIN)/kedro run --pipelines benchmark,report

test: lint  ## All checks, and tests but those that take minutes
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

test-slow: $(STAMP)  ## Those that take minutes; pages are looked at where there is a Chromium
	-$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[browser,sign]'
	$(BIN)/python -m pytest -m slow

test-faults: $(STAMP)  ## Crashes, kills and damaged files at length
	-$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[fuzz]'
	$(BIN)/python -m pytest -m "faults or fault_injection"

lint: $(STAMP)  ## Style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## Let ruff put things in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

audit: $(STAMP)  ## Look the locked versions up among known vulnerabilities
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[audit]'
	@status=0; : >$(VENV)/audit.json; \
	$(BIN)/pip-audit --requirement requirements.lock --require-hashes --disable-pip --progress-spinner off \
		--format json --output $(VENV)/audit.json 2>$(VENV)/audit.txt || status=$$?; \
	every=$$(grep -o '"name":' $(VENV)/audit.json | wc -l); \
	unknown=$$(grep -o '"skip_reason":' $(VENV)/audit.json | wc -l); \
	if [ "$$unknown" = "$$every" ]; then \
		echo "No vulnerability service can be reached from here: none of the packages was audited."; exit 3; \
	fi; \
	cat $(VENV)/audit.txt; echo "$$unknown of $$every packages could not be looked up."; \
	$(BIN)/python -m json.tool $(VENV)/audit.json | grep -E '"(name|version|id)":' | grep -B 2 '"id"' || true; \
	exit $$status

sbom: $(STAMP)  ## Write sbom.json, what .venv consists of (CycloneDX)
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[audit]'
	$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible --output-file sbom.json

lock: $(STAMP)  ## Resolve pyproject.toml again, and write the lock files
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[audit]'
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --constraint $(CONSTRAINTS) \
		--generate-hashes --no-annotate --no-header --no-emit-index-url --quiet --output-file $(VENV)/all.lock
	awk 'BEGIN { print "# Made by `make lock`: what builds this project, and packages that have no wheel." } \
		/^[^ ]/ { on = /^setuptools==/ } on' $(VENV)/all.lock >requirements-build.lock
	awk 'BEGIN { print "# Made by `make lock`: what GPU builds of torch need on Linux, and CPU builds do not." } \
		/^[^ ]/ { on = /^(cuda-|nvidia-|triton)/ } on' $(VENV)/all.lock >requirements-cuda.lock
	awk 'BEGIN { print "# Made by `make lock`: versions tested together, with the SHA-256 of every file of them." } \
		/^[^ ]/ { on = !/^(cuda-|nvidia-|triton)/ } on; /^torch==/ { $(foreach hash,$(TORCH_CPU),print "    --hash=sha256:$(hash) \\";) }' \
		$(VENV)/all.lock >requirements.lock

docs: $(STAMP)  ## Build the documentation into site/, to be read without a network
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[docs]'
	$(BIN)/python -c "from importlib.resources import files; from pathlib import Path; Path('docs/javascripts/mermaid.js').write_bytes(files('mermaidx').joinpath('assets/mermaid.js').read_bytes())"
	$(BIN)/zensical build --clean --strict

ui: $(STAMP)  ## Look at runs and models in the browser
	@echo "Runs: http://127.0.0.1:$(PORT)/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=rangefinder   (give it half a minute)"
	@$(BIN)/mlflow ui --backend-store-uri $(STORE) --host 127.0.0.1 --port $(PORT)

viz: $(STAMP)  ## Look at pipelines, their data and figures in the browser
	$(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '.[viz]'
	@echo "Pipelines: http://127.0.0.1:$(VIZ_PORT)   (give it half a minute)"
	$(BIN)/kedro viz run --host 127.0.0.1 --port $(VIZ_PORT)

clean-cache:  ## Drop the work of teacher sweeps that were not finished; finished caches stay
	rm -rf data/07_model_output/teacher_cache.work

clean:  ## Remove .venv and what tools left; data and MLflow's records stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist site docs/javascripts/mermaid.js
	find src tests -name __pycache__ -prune -exec rm -rf {} +
