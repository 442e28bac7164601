# Every target sets up what it needs; set-up is by lock file, cached, and says what it does.
.DEFAULT_GOAL := help
SHELL := /bin/bash -o pipefail
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed
SELDON := .venv-seldon
MODELS_STAMP := .venv/.installed-models
MKDOCS := NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs

help:  ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Make .venv with everything in the lock file and the ipa-seldon command

$(STAMP): requirements.lock pyproject.toml
	@echo "setup: Python environment in .venv from requirements.lock"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -o '^uv==[^ ]*' requirements.lock)"
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@
	@echo "setup: done, $$($(BIN)/ipa-seldon --version)"

$(SELDON)/.installed: requirements-seldon.lock | $(STAMP)
	@echo "setup: the environment of Seldon Core's Python wrapper in $(SELDON) from requirements-seldon.lock"
	@test -x $(SELDON)/bin/python || $(BIN)/uv venv --quiet --python $(BIN)/python $(SELDON)
	@$(BIN)/uv pip sync --quiet --compile-bytecode --python $(SELDON)/bin/python requirements-seldon.lock
	@$(BIN)/uv pip install --quiet --python $(SELDON)/bin/python --no-deps --editable .
	@touch $@

# Set-up takes away what its lock file lacks, so this comes after it, again. Which build of torch is had (for processors
# alone, or one of several GB) is for pip's own settings to say; its lock file therefore leaves torch out.
$(MODELS_STAMP): $(STAMP) requirements-models.lock
	@echo "setup: torch, and what requirements-models.lock adds"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --requirement requirements-models.lock
	@touch $@

models: $(STAMP)
	@$(BIN)/ipa-seldon models fetch

demo: models  ## Serve the text pipeline on a real Triton, replay a load, adapt it, write the report
	@$(BIN)/ipa-seldon demo $(DEMO_ARGS)

test: models $(MODELS_STAMP) $(SELDON)/.installed  ## Run the tests, two at a time; by TEST_ARGS others, or differently
	$(BIN)/pytest -n logical --maxprocesses 2 --durations 25 $(TEST_ARGS)

check: $(STAMP)  ## Format, lint, types, import contract, docs and manifests in sync, site without broken links
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/hadolint manifests/images/*/Dockerfile
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m docs.generate --check
	$(MKDOCS) build --strict

bench: models  ## Measure speed: solving, forecasting, simulating, the gateway's overhead
	$(BIN)/pytest tests/bench -c tests/bench/pytest.ini $(BENCH_ARGS)

experiments: $(STAMP)  ## Simulate the published pipelines, loads and methods; resumes; figures and a report
	@$(BIN)/ipa-seldon experiment -f profiling/experiments.yaml --baseline ipa-published $(EXPERIMENTS_ARGS)

ablation: $(STAMP)  ## Simulate the published pipelines with our means one by one, and without one of them
	@$(BIN)/ipa-seldon experiment -f profiling/ablation.yaml --directory reports/ablation --baseline ipa-published $(EXPERIMENTS_ARGS)

infadapter: $(STAMP)  ## Simulate InfAdapter's ResNets and loads, against one variant at a time; figures and a report
	@$(BIN)/ipa-seldon experiment -f profiling/infadapter.yaml --directory reports/infadapter --baseline infadapter $(EXPERIMENTS_ARGS)

sponge: $(STAMP)  ## Simulate Sponge's service over a 4G network, against its baselines; figures and a report
	@$(BIN)/ipa-seldon experiment -f profiling/sponge-published.yaml --directory reports/sponge-published --baseline sponge $(EXPERIMENTS_ARGS)
	@$(BIN)/ipa-seldon experiment -f profiling/sponge.yaml --directory reports/sponge --baseline sponge $(EXPERIMENTS_ARGS)

screenshot: models  ## Take docs/live.png, the live page of a demo; needs chromium
	@$(BIN)/python docs/screenshot.py

docs: $(STAMP)  ## Regenerate the reference pages, and the documents of the pipelines in manifests/
	$(BIN)/python -m docs.generate

site: $(STAMP)  ## Build docs/ as a site, to be opened at site/index.html
	@$(MKDOCS) build --strict

lock: $(STAMP)
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --extra all --group dev \
		--generate-hashes --quiet --custom-compile-command "make lock" --output-file requirements.lock
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --extra seldon \
		--generate-hashes --quiet --custom-compile-command "make lock" --output-file requirements-seldon.lock
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --extra models \
		--constraint requirements.lock --override <(echo 'torch; python_version < "3"') \
		--generate-hashes --quiet --custom-compile-command "make lock" --output-file requirements-models.lock
	for image in triton-text triton-models; do \
		(cd manifests/images/$$image && ../../../$(BIN)/uv pip compile requirements.in --python-version 3.10 \
			--python-platform x86_64-manylinux_2_35 --generate-hashes --quiet --custom-compile-command "make lock" \
			--output-file requirements.lock) || exit 1; \
	done

.PHONY: help setup models demo test check bench experiments ablation infadapter sponge screenshot docs site lock
