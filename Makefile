# ibkit. A fresh machine needs Python 3.11, make and git; every target sets up what it needs first.
#   make demo    the main job, on the simulator          make test    all tests
#   make check   format, lint, strict types, imports     make bench   benchmarks, by hand
#   make docs    regenerate the generated pages          make lock    renew requirements.lock
#   make coverage  every branch of risk, journal and recovery is run by a test     make mutants  by hand
#   make chaos   the order path under crashes and faults (SEED=n tells one failure in short)

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
DEMO   ?=
JOBS   ?= 2
# Most tests of processes wait for one another: more of them than there are cores, but not so many that none keeps time.
WORKERS ?= 4

.PHONY: help demo test check assets screenshots fuzz-http bench docs lock wheel clean format coverage mutants chaos chaos-nightly chaos-service
.DEFAULT_GOAL := help

help:
	@sed -n '2,6s/^# *//p' Makefile

# uv is quick (5 s); where it cannot reach the registry, pip does the same from the same lock.
$(READY): requirements.lock pyproject.toml
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "ibkit needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv>=0.8'
	@{ $(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock \
	   && $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . ; } \
	 || { $(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock \
	   && $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e . ; }
	@touch $@

# What the pages take from others; it travels in the wheel and is not committed.
ASSETS := src/ibkit/service/web/static/vendor/htmx.js
$(ASSETS): assets/package-lock.json assets/build.py $(READY)
	@$(BIN)/python assets/build.py && touch $@

assets: $(ASSETS)

demo: $(READY) $(ASSETS)
	@$(BIN)/ibkit demo $(DEMO)

# Each room by a process of its own, the longest first: under xdist every worker collects all 9,000 tests, which takes
# a tenth of the whole. TESTS=tests/wire takes some of them alone, by xdist.
ROOMS := chaos-schedules browser service-1 journeys cli-1 service-2 service-3 service-4 top-1 chaos-others top-2 cli-2 store conformance sim \
         portfolio peers trading users wire
ROOM_chaos-schedules := tests/chaos/test_chaos.py
ROOM_chaos-others    := $(filter-out tests/chaos/test_chaos.py,$(wildcard tests/chaos/test_*.py))
ROOM_service-1       := tests/service/test_[a-e]*.py
ROOM_service-4       := tests/service/web
ROOM_service-2       := tests/service/test_[f-p]*.py
ROOM_service-3       := tests/service/test_[q-z]*.py
ROOM_cli-1           := tests/cli/test_[a-p]*.py
ROOM_cli-2           := tests/cli/test_[q-z]*.py
ROOM_top-1           := tests/test_[a-i]*.py
ROOM_top-2           := tests/test_[j-z]*.py
ROOM_trading         := tests/trading tests/client tests/notify tests/render tests/settings
ROOM_users           := tests/users tests/vault
ROOM_of = $(or $(ROOM_$*),tests/$*)

# A browser for the tests of pages: the machine's own, else Debian's, else the one that Playwright fetches.
BROWSER := .cache/browser
$(BROWSER): $(READY)
	@mkdir -p .cache; command -v chromium >/dev/null || command -v google-chrome >/dev/null \
	 || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null \
	      && { echo "Installing chromium ..."; { apt-get install -y -qq chromium || { apt-get update -qq && apt-get install -y -qq chromium; }; } >.cache/chromium.log 2>&1; }; } \
	 || $(BIN)/playwright install chromium
	@touch $@

ifdef TESTS
test: $(READY) $(ASSETS) $(BROWSER)
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(TESTS)
else
test: $(READY) $(ASSETS) $(BROWSER)
	@$(MAKE) --no-print-directory --keep-going -j $(WORKERS) $(if $(filter output-sync,$(.FEATURES)),-Otarget) $(ROOMS:%=test-%)
	@echo "all rooms passed"
endif

.PHONY: $(ROOMS:%=test-%)
$(ROOMS:%=test-%): test-%:
	@echo "tests of $*"; $(BIN)/python -m pytest -q $(if $(filter service-2,$*),,-p no:schemathesis -p no:Faker) $(ROOM_of)

# Which rooms, and that they need every branch, stands in pyproject.toml.
coverage: $(READY)
	@rm -rf .cache/coverage
	@$(BIN)/coverage run -m pytest -q -n $(JOBS) --dist loadfile tests/trading tests/store tests/conformance tests/vault
	@$(BIN)/coverage combine -q
	@$(BIN)/coverage report

# Changes that no test notices. A room takes minutes, all of them hours.
MUTANTS ?=
mutants: $(READY)
	@$(BIN)/mutmut run --max-children $(JOBS) $(if $(MUTANTS),'$(MUTANTS)')
	@$(BIN)/mutmut results

# What every change must pass after the tests: 10,000 schedules, each mistake that is planted, and real processes killed.
# Half of them are new each time, FRESH=1000000 takes those 5,000 anew. SEED=17 tells one schedule, step by step, and in
# short if it fails (MODE=groups: as this kind of schedule); REPORT=docs/chaos.md writes the page.
FRESH ?= $(shell date +%s)00
CHAOS ?= --schedules 5000 --fresh 5000 --fresh-first $(FRESH) --streams 300 --models 100000 --kills 100 --bugs 2000
chaos: $(READY)
	@$(BIN)/python -m tests.chaos --jobs $(JOBS) $(if $(SEED),--seed $(SEED) --mode "$(MODE)" --shrink,$(CHAOS) \
	   $(if $(REPORT),--report $(REPORT)))

# KEPT=file FIRST=seed: what is done stands in that file, and a run that was ended goes on with it.
FIRST ?= $(shell date +%s)00
chaos-nightly: $(READY)
	@$(BIN)/python -m tests.chaos --jobs $(JOBS) --first $(FIRST) --schedules 100000 --streams 3000 --models 1000000 \
	   --kills 2000 --bugs 2000 --complete $(if $(KEPT),--kept $(KEPT)) $(if $(REPORT),--report $(REPORT))

# `ibkit serve` killed under load: how often each key was carried out is read from the simulator. By hand; figures go to
# docs/guarantee.md.
KILLS ?= 100
chaos-service: $(READY)
	@$(BIN)/python -m tests.chaos --service-kills $(KILLS) --first $(or $(SEED),0)

# Generated requests at the service: none may make a fault (EXAMPLES for each operation).
EXAMPLES ?= 2000
fuzz-http: $(READY)
	@IBKIT_FUZZ_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -q tests/service/test_openapi.py

check: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python docs/generate.py --check

format: $(READY)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(READY)
	@$(BIN)/python -m benchmarks --write

docs: $(READY)
	@$(BIN)/python docs/generate.py

# Pictures of every page of the demo, to be looked at; axe and the width of each are checked besides.
screenshots: $(READY) $(ASSETS) $(BROWSER)
	@$(BIN)/python docs/screenshots.py

wheel: $(READY) $(ASSETS)
	@$(BIN)/python -m hatchling build -t wheel

# No host stands in the lock: it works with whatever registry the machine is set up for.
lock: $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet 'uv>=0.8'
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	   --all-extras pyproject.toml -o requirements.lock

$(VENV)/bin/python:
	@$(PYTHON) -m venv $(VENV)

clean:
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .cache mutants
