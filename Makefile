# One command for each task, on a fresh machine too: Python 3.11, make and a package index are enough.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN    := .venv/bin
PREPARE = $(PYTHON) scripts/prepare.py
NPM     = $(PYTHON) scripts/web.py

# Where a bare PATH has no place for `useradd`, which PostgreSQL's wheel calls when run as root.
export PATH := $(PATH):/usr/sbin:/sbin

# Container images of Python often set it: each start would compile everything anew, which takes as
# long as the start itself.
unexport PYTHONDONTWRITEBYTECODE

# Passed on: make run HOST=0.0.0.0 PORT=9000 ARGS="--upstream URL --model NAME"; make test ARGS="-k tail"
HOST ?=
PORT ?=
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup run cluster test check audit bench bench-cluster soak docs release sbom lock clean

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1|/p' Makefile | while IFS='|' read -r name text; do \
		printf '%-14s %s\n' "$$name" "$$text"; done

setup: ## Set up everything that tests and checks need
	@$(PREPARE) dev web litellm mlflow clients browser proxy

run: ## Serve on http://127.0.0.1:8000 (HOST, PORT, ARGS)
	@$(PREPARE) runtime web
	@exec $(BIN)/perdure serve $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) $(ARGS)

cluster: ## Serve as many machines do: PostgreSQL, Valkey, 2 servers, 2 workers (PORT, ARGS)
	@$(PREPARE) dev web
	@exec $(BIN)/python -m scripts.cluster $(if $(PORT),--port $(PORT)) $(ARGS)

test: setup ## Run every test: real databases, real browser (ARGS to pytest)
	@$(NPM) run --silent test
	@$(BIN)/python -m scripts.tests $(ARGS)

check: ## Run the quick checks: format, lint, types, style, imports, fast tests, known holes
	@$(PREPARE) dev web
	@failed=; \
	$(BIN)/ruff format --check . || failed="$$failed format"; \
	$(BIN)/ruff check . || failed="$$failed lint"; \
	$(BIN)/mypy || failed="$$failed types"; \
	$(BIN)/python -m pytest -q tests/test_tidy.py $(wildcard tests/unit tests/contract) $(ARGS) || failed="$$failed tests"; \
	$(NPM) run --silent lint || failed="$$failed web-lint"; \
	$(NPM) run --silent types || failed="$$failed web-types"; \
	$(NPM) run --silent test || failed="$$failed web-tests"; \
	$(BIN)/python -m scripts.audit --if-answered || failed="$$failed audit"; \
	test -z "$$failed" || { echo "make check failed:$$failed" >&2; exit 1; }

audit: ## Ask the advisory databases about every pinned package; no answer is a failure
	@$(PREPARE) dev
	@$(BIN)/python -m scripts.audit

bench: ## Measure, beside a baseline measured in the same run (ARGS)
	@$(PREPARE) dev
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench $(ARGS)

bench-cluster: ## The same for many machines: PostgreSQL, Valkey, 2 servers, 2 workers (ARGS)
	@$(PREPARE) dev
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench --cluster $(ARGS)

soak: setup ## Run the long randomised tests as well (ARGS to pytest)
	@$(PREPARE) next
	@$(BIN)/python -m scripts.tests --soak $(ARGS)

docs: ## Build the documentation as a site in build/docs
	@$(PREPARE) dev
	@$(BIN)/sphinx-build -W --keep-going -q -c site -b html docs build/docs
	@echo "build/docs/index.html"

release: sbom ## Build the source distribution, and the wheel from it, in dist/
	@$(PREPARE) dev web
	@$(BIN)/python -m scripts.release

sbom: ## Write what is in a release to dist/sbom.json (CycloneDX)
	@$(PREPARE) dev
	@mkdir -p dist
	@$(BIN)/cyclonedx-py requirements --output-reproducible --pyproject pyproject.toml -o dist/sbom.json requirements/runtime.txt

lock: ## Refresh the pins in requirements/
	@$(PREPARE) dev
	@$(BIN)/python -m scripts.lock

clean: ## Remove what the other targets made
	rm -rf .venv .tools web/node_modules src/perdure/static .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist build test-results
