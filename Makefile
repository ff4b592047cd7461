# Everything runs in .venv, made from requirements.lock with the system's Python and pip.

PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
STAMP := $(VENV)/.installed
PORT ?= 5000
VIZ_PORT ?= 4141
STORE := $(or $(MLFLOW_TRACKING_URI),sqlite:///$(CURDIR)/mlflow.db)

export PATH := $(BIN):$(PATH)
export DO_NOT_TRACK := 1
export KEDRO_DISABLE_TELEMETRY := 1
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help install run smoke long full bench test test-slow lint format docs repro ui viz clean clean-cache

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## Make .venv (other targets do it when needed)

$(STAMP): requirements.lock pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --requirement requirements.lock
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true  # what pip does by one core only
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	$(BIN)/python -m pip check
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
	-$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[bench]'
	$(BIN)/kedro run --pipelines benchmark,report

test: lint  ## All checks, and tests but those that take minutes
	$(BIN)/python -m pytest

test-slow: $(STAMP)  ## Those that take minutes; pages are looked at where there is a Chromium
	-$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[browser]'
	$(BIN)/python -m pytest -m slow

lint: $(STAMP)  ## Style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)  ## Let ruff put things in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)  ## Build the documentation into site/, to be read without a network
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[docs]'
	$(BIN)/python -c "from importlib.resources import files; from pathlib import Path; Path('docs/javascripts/mermaid.js').write_bytes(files('mermaidx').joinpath('assets/mermaid.js').read_bytes())"
	$(BIN)/zensical build --clean --strict

ui: $(STAMP)  ## Look at runs and models in the browser
	@echo "Runs: http://127.0.0.1:$(PORT)/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=rangefinder   (give it half a minute)"
	@$(BIN)/mlflow ui --backend-store-uri $(STORE) --host 127.0.0.1 --port $(PORT)

viz: $(STAMP)  ## Look at pipelines, their data and figures in the browser
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[viz]'
	@echo "Pipelines: http://127.0.0.1:$(VIZ_PORT)   (give it half a minute)"
	$(BIN)/kedro viz run --host 127.0.0.1 --port $(VIZ_PORT)

clean-cache:  ## Drop the work of teacher sweeps that were not finished; finished caches stay
	rm -rf data/07_model_output/teacher_cache.work

clean:  ## Remove .venv and what tools left; data and MLflow's records stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist site docs/javascripts/mermaid.js
	find src tests -name __pycache__ -prune -exec rm -rf {} +
