# Each target does everything from a bare checkout: it makes .venv, installs the package into it, and runs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help quickstart test test-all check format hooks clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

.venv/installed: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

quickstart: .venv/installed  ## make a demo set, train on it, evaluate, probe, report, predict (about 10 minutes)
	$(BIN)/mvit quickstart

.venv/installed-extras: .venv/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev,baselines,export,hub,logs,peers,scale,serve]'
	@touch $@

test: .venv/installed  ## the tests, offline, a process per core of two
	$(BIN)/pytest -n 2 -m "not slow"

test-all: .venv/installed-extras  ## also the slow ones, with other people's libraries: full-size models, a whole training
	$(BIN)/pytest -n 2

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
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis build dist
