# demo  test  check  bench: each sets up what it needs, in .venv. Nothing here needs an AWS account or Docker.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.installed
PEERS := .cache/bench/peers
LOCK := --quiet --universal --python-version 3.11 --custom-compile-command 'make lock'
SOURCES := app.py spotbatch tests examples bench scripts

# Everything here starts hundreds of Python processes: where this is set, each would compile boto3 and the rest anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo environment-for-demo test check bench clients chaos slow snapshots docs dist format lock clean

help:  ## show this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(READY): requirements.txt pyproject.toml
	@PYTHON='$(PYTHON)' scripts/environment.sh

environment-for-demo:
	@PYTHON='$(PYTHON)' scripts/environment.sh demo

setup: $(READY)  ## .venv with everything, development tools too

demo: environment-for-demo  ## the whole product on one machine: a real array job, reclaimed hosts, results, bill
	@$(BIN)/python -m examples.flights.demo

test: $(READY)  ## all tests
	@$(BIN)/python -m pytest tests/ -n 2 --dist loadfile

check: $(READY)  ## ruff, mypy --strict, and the import table
	@$(BIN)/ruff check $(SOURCES)
	@$(BIN)/ruff format --check $(SOURCES)
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_house.py

clients: $(READY)  ## other people's programs, unmodified: AWS CLI, the SDKs for Go, Java, JavaScript, redun, Snakemake, the CDK, checkov
	@$(BIN)/python -m pytest tests/ -m clients

chaos: $(READY)  ## hundreds of jobs while hosts are reclaimed and the region is killed
	@$(BIN)/python -m pytest tests/ -m chaos

snapshots: $(READY)  ## dumps and restores real programs with CRIU (root): seeded interruptions, exact results
	@$(BIN)/python -m pytest tests/ -m snapshots -s

slow: $(READY)  ## the long tests
	@$(BIN)/python -m pytest tests/ -m slow -n 2

$(PEERS)/.installed: bench/peers.txt
	@$(PYTHON) -m venv --clear $(PEERS) && $(PEERS)/bin/pip install --quiet --disable-pip-version-check -r bench/peers.txt && touch $@

# local_jobs first: it creates files, which is slow where the others just deleted theirs
bench: $(READY) $(PEERS)/.installed  ## every benchmark, ours beside its peers in the same run
	@for each in bench/local_jobs.py $(filter-out bench/local_jobs.py,$(wildcard bench/*.py)); do echo "== $$each"; \
	  PATH="$$PATH:$(abspath $(PEERS))/bin" $(BIN)/python $$each || exit 1; done

docs: $(READY)  ## the site, from docs/ and the docstrings, in site/; a link that leads nowhere fails
	@$(BIN)/sphinx-build --fail-on-warning --keep-going --fresh-env --quiet -b dirhtml docs site

dist: $(READY)  ## the distribution in dist/, checked
	@rm -rf dist && $(BIN)/python -m build --outdir dist . >/dev/null && $(BIN)/twine check --strict dist/*

format: $(READY)  ## ruff's formatting and safe fixes
	@$(BIN)/ruff format $(SOURCES)
	@$(BIN)/ruff check --fix $(SOURCES)

lock: $(READY)  ## make requirements.txt and requirements-demo.txt from pyproject.toml
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile $(LOCK) --all-extras pyproject.toml -o requirements.txt
	@$(BIN)/uv pip compile $(LOCK) --extra demo -c requirements.txt pyproject.toml -o requirements-demo.txt
	@for each in requirements.txt requirements-demo.txt; do printf '%s\n' '# this project itself, editable' '-e .' >> $$each; done

clean:  ## what can be made again
	rm -rf .venv site cdk.out node_modules build dist *.egg-info demo-results .mypy_cache .ruff_cache .pytest_cache .hypothesis
