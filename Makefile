PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: all help setup test test-slow faults lint format scores leaderboard compare verify sync ui serve demo states clear-states lock
.DEFAULT_GOAL := all

all: setup  ## set up and run the pipeline: data, model, samples, scores
	dvc repro
	@$(MAKE) --no-print-directory scores

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(BIN)/.pipeline  ## create .venv and install the locked requirements

test: lint  ## set up, then lint, types, import contracts and the tests (under 8 minutes on two cores)
	pytest -m "not slow" --numprocesses 2 --dist loadgroup

test-slow: $(BIN)/.test  ## the long proofs
	pytest -m slow

faults: $(BIN)/.test  ## every proof of docs/reproducibility.md: kills, processes, disks, mutants (half an hour)
	pytest tests/faults tests/pipeline/test_kill.py tests/pipeline/test_processes.py tests/pipeline/test_verify.py
	python tests/faults/mutants.py

lint: $(BIN)/.test  ## ruff, mypy and the direction of imports
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-cache

format: $(BIN)/.test  ## let ruff write the code
	ruff format .
	ruff check --fix .

scores: setup  ## the scores of the present model, and where to look
	@python -m rediffuse.scores

leaderboard: setup  ## all finished runs as a table, best first (OPTIONS="--metric fidelity.kid --csv runs.csv")
	@python -m rediffuse.leaderboard $(OPTIONS)

compare: setup  ## run every preset as a DVC experiment, and write a table and a picture of them (OPTIONS=... for the command)
	@python -m rediffuse.compare $(OPTIONS)

verify: setup  ## make everything again in a temporary folder and compare every byte (OPTIONS=... for the command)
	@python -m rediffuse.verify $(OPTIONS)

sync: setup  ## bring to MLflow what it could not be told while it was away
	@python -m rediffuse.tracking.sync

ui: setup  ## open MLflow on http://127.0.0.1:5000 (PORT=... for another port)
	@test -n "$(MLFLOW_TRACKING_URI)" -o -f mlflow.db || { echo "there are no runs yet: make"; exit 1; }
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false mlflow ui --workers 1 --port $(or $(PORT),5000) \
		--backend-store-uri $(or $(MLFLOW_TRACKING_URI),sqlite:///mlflow.db)

serve: $(BIN)/.serving  ## serve the champion (API and page) on http://127.0.0.1:8000 (OPTIONS=... for the command)
	@python -m rediffuse.serving $(OPTIONS)

demo: $(BIN)/.serving  ## the same, and open the page in a browser
	@python -m rediffuse.serving --open $(OPTIONS)

states: setup  ## the unfinished trainings that .pipeline keeps, and their sizes
	@python -m rediffuse.states

clear-states: setup  ## remove the unfinished trainings that no process is working on (OPTIONS="--older-than 30": days)
	@python -m rediffuse.states --clear $(OPTIONS)

lock:  ## solve requirements.lock anew (needs uv)
	uv pip compile --universal --python-version 3.11 --no-annotate --no-header \
		--extra pipeline --extra test pyproject.toml requirements.in -o requirements.lock

$(BIN)/python:
	$(PYTHON) -m venv .venv

$(BIN)/.pipeline: $(BIN)/python pyproject.toml requirements.lock
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[pipeline]'
	@touch $@

$(BIN)/.serving: $(BIN)/python pyproject.toml requirements.lock
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[serving]'
	@touch $@ $(BIN)/.pipeline

$(BIN)/.test: $(BIN)/python pyproject.toml requirements.lock
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[pipeline,test]'
	@touch $@ $(BIN)/.pipeline $(BIN)/.serving
