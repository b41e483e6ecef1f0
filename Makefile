# `make demo` and `make test` set up what they need: Python >= 3.10, make and a package registry are enough.
# `make app` builds the page as well, which takes Node.js.
PYTHON ?= python3
BIN := .venv/bin
CLIENT := monailabel==0.8.5  # its client, to test our server with; what the rest of it needs is gigabytes
NODE := $(shell node -e 'console.log(parseFloat(process.versions.node) < 20 ? "" : "yes")' 2>/dev/null)
DATA ?= $(BIFSEG_DATA)
PAGE := src/bifseg/server/static/index.html
# Of pytest: files at once, as tests/conftest.py deals them out. Of four, two mostly wait for a server or a browser.
PARALLEL = -n $(1) --dist loadscope --no-loadscope-reorder
NO_NODE := The page needs Node.js 20 or newer: install it and call make again, or pip install a wheel of bifseg, which contains it.

QUICK := lint-files lint-imports  # linters that take a second; the others run beside the tests
SLOW := lint-types lint-docstrings $(if $(NODE),lint-page)
# Where it is set, as in images of containers, every program that a test starts compiles all of bifseg anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo app page check portable plainest bench-check evidence evidence-check test test-python test-page check-python setup lint $(QUICK) $(SLOW) format types docs loops clean

demo: .venv/demo
	$(BIN)/bifseg demo -o demo-output

app: page .venv/app
	$(BIN)/bifseg app

page: $(if $(NODE),$(PAGE))
	@test -f $(PAGE) || (echo "$(NO_NODE)" >&2; exit 1)

$(PAGE): web/node_modules/.package-lock.json web/index.html $(wildcard web/*.ts web/*.json) $(shell find web/src web/public -type f)
	npm --prefix web run build

web/node_modules/.package-lock.json web/codegen/node_modules/.package-lock.json: %/node_modules/.package-lock.json: %/package-lock.json
	npm --prefix $* ci
	touch $@

test: setup $(if $(NODE),page)
	@$(MAKE) --no-print-directory $(QUICK)
	@$(MAKE) --no-print-directory -j 3 test-python $(SLOW) $(if $(NODE),test-page)

test-python:
	$(BIN)/python -m pytest $(call PARALLEL,4)

test-page:
	npm --prefix web test

check: setup
	@$(MAKE) --no-print-directory $(QUICK)
	@$(MAKE) --no-print-directory -j 2 check-python $(SLOW)

# Of the folders that it leaves out no file is even read.
check-python:
	$(BIN)/python -m pytest -q -m "unit and not data" $(call PARALLEL,2) $(addprefix --ignore=tests/,server page benchmarks)

# The same without what only POSIX has, and on the plainest CPU: what other machines will do. Windows has locks of its own.
portable: .venv/dev
	PYTHONPATH=tests/support/without_posix $(BIN)/python -m pytest -q -m unit -W "ignore:only soft file lock"

plainest: .venv/dev
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 $(BIN)/python -m pytest -q -m unit

# Ten ratios to a matrix product or a copy taken beside them, in a minute: nothing becomes slower by accident.
bench-check: .venv/dev
	$(BIN)/python -m benchmarks.speed.check

# All published numbers, resumable; says what is done and what is left (LIST=--list: that alone).
evidence: .venv/dev
	@test -n "$(DATA)" || (echo "Say where the data sets are: make $@ DATA=folder"; exit 1)
	$(BIN)/python -m benchmarks.published.everything $(DATA) $(LIST)

# Judges a random twentieth of the published rows again; ROWS=n so many of each file instead.
evidence-check: .venv/dev
	@test -n "$(DATA)" || (echo "Say where the data sets are: make $@ DATA=folder"; exit 1)
	$(BIN)/python -m benchmarks.published.check $(DATA) $(if $(ROWS),--rows $(ROWS))

lint: setup
	@$(MAKE) --no-print-directory -j 2 $(SLOW) $(QUICK)

setup:
	@$(MAKE) --no-print-directory -j 2 .venv/dev $(if $(NODE),web/node_modules/.package-lock.json)

lint-types:
	$(BIN)/mypy

lint-files:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

lint-imports:
	$(BIN)/lint-imports

lint-docstrings:
	$(BIN)/python -m docs.docstrings

lint-page:
	npm --prefix web run lint

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(if $(NODE),npm --prefix web run format)

types: .venv/dev web/node_modules/.package-lock.json web/codegen/node_modules/.package-lock.json
	$(BIN)/python -m web.codegen.types

docs: .venv/dev
	$(BIN)/python -m docs.generate

loops: .venv/dev
	$(BIN)/python -m codegen.loops

clean:
	rm -rf .venv demo-output web/node_modules web/codegen/node_modules $(dir $(PAGE))

.venv/demo: EXTRAS := figures
.venv/app: EXTRAS := server,dicom
.venv/dev: EXTRAS := dev
.venv/demo .venv/app .venv/dev: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || (echo "bifseg needs Python 3.10 or newer; call make PYTHON=python3.11"; exit 1)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(EXTRAS)]'
	$(if $(filter dev,$(EXTRAS)),$(BIN)/python -m pip install --quiet --no-deps $(CLIENT))
	touch $@
