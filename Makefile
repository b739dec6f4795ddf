# The one entrance. `make` alone says what there is.
#
# PYTHON=python3.13   another interpreter for .venv
# PORT=9000           where `make run` listens
# TESTS=tests/unit    what `make test` runs of the tests (all of them otherwise)
.DEFAULT_GOAL := help
.PHONY: help setup run demo demo-clouds test lint torture bench clean test-setup clients pages
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash

PYTHON ?= python3
PORT ?= 8080
TESTS ?=
VENV := .venv/bin
export PYTHON

help:
	@echo "make run      set up, then serve on 127.0.0.1:$(PORT) with data in ./run"
	@echo "make demo     set up, then show the whole life of a recording"
	@echo "make demo-clouds  set up for tests, then three pretend clouds to link and to look into"
	@echo "make test     set up, then everything that CI runs"
	@echo "make lint     format, style, types, import order"
	@echo "make torture  the long tests: the same properties with far more examples"
	@echo "make bench    the benchmarks"
	@echo "make setup    make .venv and nothing else"
	@echo "make clean    remove .venv and caches; the data in ./run stays"
	@echo
	@echo "Needed: Python 3.11 or newer with venv, and make. Tests also install a few system packages."

# A requirement file or pyproject.toml that changed makes the next call install anew;
# otherwise set-up is a look at a time stamp.
.venv/ready/run: requirements/run.txt pyproject.toml $(wildcard plugins/*/pyproject.toml) scripts/setup
	@scripts/setup run

.venv/ready/test: requirements/test.txt pyproject.toml $(wildcard plugins/*/pyproject.toml) scripts/setup
	@scripts/setup test

setup: .venv/ready/run
	@:

test-setup: .venv/ready/test
	@scripts/system-packages

# The tests' clients that come from npm; the lock file has hashes and no addresses.
tests/clients/js/node_modules/.package-lock.json: tests/clients/js/package-lock.json
	@echo "Installing the JavaScript clients of the tests"
	@cd tests/clients/js && npm ci --loglevel=error --ignore-scripts >/dev/null
	@touch $@

clients: tests/clients/js/node_modules/.package-lock.json
	@$(MAKE) pages

# The pages' scripts; the pages do without where there is no npm.
gateway/web/static/recordings.js: $(wildcard gateway/web/frontend/*.ts) gateway/web/frontend/package-lock.json
	@scripts/build-pages
	@if [ -e $@ ]; then touch $@; fi

pages: gateway/web/static/recordings.js
	@:

run: setup
	@$(MAKE) pages
	@$(VENV)/gateway serve --data-dir run --host 127.0.0.1 --port $(PORT)

demo: setup
	@$(VENV)/gateway demo

demo-clouds: .venv/ready/test
	@$(VENV)/python -m tests.emulators

lint: .venv/ready/test
	@$(VENV)/ruff check --quiet .
	@$(VENV)/ruff format --quiet --diff .
	@$(VENV)/mypy --no-error-summary
	@$(VENV)/lint-imports --no-logo
	@if [ -d gateway/web/frontend/node_modules ]; then cd gateway/web/frontend && npm run --silent check; fi
	@echo "lint: clean"

test: test-setup
	@$(MAKE) clients
	@$(MAKE) lint
	@$(VENV)/python -m pytest -n 2 $(TESTS)

torture: test-setup
	@$(MAKE) clients
	@$(VENV)/python -m pytest -n 2 --torture -o timeout=3600 $(TESTS)

# What is measured beside the gateway; whatever cannot be had is left out of the tables.
bench/js/node_modules/.package-lock.json: bench/js/package-lock.json
	@cd bench/js && npm ci --loglevel=error --ignore-scripts >/dev/null
	@touch $@

bench: test-setup
	@scripts/bench-packages
	@$(MAKE) bench/js/node_modules/.package-lock.json
	@$(VENV)/python -m bench

clean:
	rm -rf .venv .cache .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache dist build
	rm -rf tests/clients/js/node_modules bench/js/node_modules gateway/web/frontend/node_modules gateway/web/static/*.js
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
