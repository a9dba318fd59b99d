# Each target does everything from a bare checkout: it makes .venv, installs the package into it, and runs.
PYTHON ?= python3
BIN := .venv/bin
OLDEST ?= python3.11
# What meets torch, numpy, PyAV and the command line; the rest is arithmetic and pages.
CORE := tests/golden tests/model tests/data tests/weights tests/deploy tests/evaluation tests/training tests/cli

.PHONY: help quickstart test test-all test-oldest docs check format hooks clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

quickstart: .venv/installed  ## make a demo set, train on it, evaluate, probe, report, predict (about 10 minutes)
	$(BIN)/mvit quickstart

.venv/installed-extras: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev,baselines,docs,export,hub,logs,peers,scale,serve]'
	@touch $@

test: .venv/installed  ## the tests, offline, a process per core of two
	$(BIN)/pytest -n 2 -m "not slow"

test-all: .venv/installed-extras  ## also the slow ones, with other people's libraries: full-size models, a whole training
	$(BIN)/pytest -n 2

test-oldest:  ## the tests of the core on the oldest versions that pyproject.toml allows, under Python 3.11; several GB
	$(OLDEST) -m venv .venv-oldest
	sed -nE '/^dependencies/,/^]/s/^ +"([a-z]+)>=([0-9.]+)".*/\1==\2/p' pyproject.toml > .venv-oldest/floors.txt
	.venv-oldest/bin/pip install --quiet --disable-pip-version-check --constraint .venv-oldest/floors.txt --editable '.[dev]'
	.venv-oldest/bin/pytest -n 2 -m "not slow" $(CORE)

docs: .venv/installed  ## the pages as a site, build/docs/html: strict, and without a request to another host
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[docs]'
	$(BIN)/python docs/site/build.py build/docs

check: .venv/installed  ## format, lint, types
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/pyrefly check

format: .venv/installed  ## rewrite the files as `make check` wants them
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

hooks: .venv/installed  ## run the checks before every commit
	$(BIN)/prek install

clean:  ## remove the environment and the caches, not what the commands wrote
	rm -rf .venv .venv-oldest .pytest_cache .ruff_cache .hypothesis build dist
