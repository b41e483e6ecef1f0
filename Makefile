# `make demo` and `make test` set up what they need: Python >= 3.10, make and a package registry are enough.
PYTHON ?= python3
BIN := .venv/bin
CLIENT := monailabel==0.8.5  # its client, to test our server with; what the rest of it needs is gigabytes

.PHONY: demo test lint format clean

demo: .venv/demo
	$(BIN)/bifseg demo -o demo-output

test: lint
	$(BIN)/python -m pytest

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

format: .venv/dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv demo-output

.venv/demo .venv/dev: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || (echo "bifseg needs Python 3.10 or newer; call make PYTHON=python3.11"; exit 1)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$(if $(findstring demo,$@),figures,dev)]'
	$(if $(findstring dev,$@),$(BIN)/python -m pip install --quiet --no-deps $(CLIENT))
	touch $@
