# Each target sets up .venv by itself, with the versions of constraints.txt; a second time that takes no time.
# PYTHON=python3.12 make ... takes another interpreter.

PYTHON ?= python3
BIN := .venv/bin
RUN := runs/pronounce
NEW_WORDS := brexit covfefe skibidi zoomable blockchainify

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench docs

help: ## what can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.demo ## learn to pronounce English in five minutes, then measure, use and look inside (extra: demo)
	$(BIN)/sublayer train recipes/pronounce.toml --out $(RUN) $(if $(wildcard $(RUN)/recipe.toml),--resume)
	$(BIN)/sublayer evaluate $(RUN) --split test
	@printf '%s\n' $(NEW_WORDS) > $(RUN)/words.txt
	$(BIN)/sublayer predict $(RUN) --input $(RUN)/words.txt --output $(RUN)/pronounced.txt
	@paste $(RUN)/words.txt $(RUN)/pronounced.txt
	$(BIN)/sublayer inspect $(RUN) zoomable --out $(RUN)/alignment.png
	@echo "learning curves: $(RUN)/curves.png"
	@echo "alignment:       $(RUN)/alignment.png"

test: .venv/.dev ## run every test
	$(BIN)/pytest -q -n auto --maxprocesses 4

check: .venv/.dev ## style, types and the shape of the package: what the commit hooks run
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -q tests/test_architecture.py

format: .venv/.dev ## put the code into the project's format
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: .venv/.dev ## training speed beside torch.nn.Transformer and MarianMT
	$(BIN)/python benchmarks/train.py

docs: .venv/.dev ## check the documentation: links, and recipes in code blocks
	$(BIN)/pytest -q tests/test_docs.py

# .venv/.NAME: the environment has the extra NAME. torch comes first, so that the build of it that pip is set up to
# find is there before anything else asks for one.
.venv/.%: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "sublayer needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0])'
	@echo "setting up .venv with the extra '$*' (some minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt torch
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[$*]'
	@touch $@
