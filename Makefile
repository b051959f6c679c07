# Every command of the project. `make demo` and `make test` need Python 3.11 or newer with pip, and nothing else.
PYTHON ?= python3
BIN := .venv/bin
MODEL := models/all-minilm-l6-v2/tokenizer.json
LANGUAGE := models/smollm2-135m-instruct/tokenizer.json
WITH := $(if $(LANGUAGE_MODEL),--language-model $(LANGUAGE_MODEL)) $(if $(SUMMARISER),--summariser $(SUMMARISER))
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help demo up bench test check drills release-manifest lock clean
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' Makefile | awk -F ':.*## ' '{printf "  make %-16s %s\n", $$1, $$2}'

demo: .venv/parties $(MODEL) ## summarise a real chat privately and show what every party saw
	@$(BIN)/python deploy/demo.py

up: .venv/parties $(MODEL) ## run all parties in the foreground until Ctrl-C (LANGUAGE_MODEL=DIR, SUMMARISER=DIR)
	@$(BIN)/python deploy/local.py --workers 2 --state run $(WITH)

bench: .venv/parties $(MODEL) ## what each hop costs: the price of privacy, as a table and as run/ladder.html
	@mkdir -p run
	@$(BIN)/python -m bench ladder --quick --html run/ladder.html --json run/ladder.json

test: check .venv/tpm ## set up and run every check: format, lint, types, imports, tests, README
	@$(BIN)/pytest

check: .venv/dev $(MODEL)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

drills: .venv/dev .venv/tpm $(MODEL) $(LANGUAGE) ## the long runs: workers killed under load, measurements, other drawn examples
	@SECLUDE_LANGUAGE_MODEL=$(CURDIR)/models/smollm2-135m-instruct $(BIN)/pytest -m drill --timeout 1800 -s

release-manifest: ## build the worker of this commit in build/release and print its digest (CONFIG=worker.toml)
	@PYTHON="$(PYTHON)" sh deploy/release.sh $(CONFIG)

lock: .venv/dev ## write the hash-pinned requirements anew from pyproject.toml
	@sh requirements/lock.sh

clean: ## remove everything that make made
	rm -rf .venv models run build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Seclude needs Python 3.11 or newer: make PYTHON=python3.11")'
	@$(PYTHON) -m venv .venv
	@touch $@

# Everything comes from the hash-pinned list and from nowhere else; the project itself is linked, not copied.
.venv/parties: .venv/python requirements/parties.txt pyproject.toml
	@echo "installing the parties' packages (hash-pinned)..."
	@$(PIP) install --quiet --require-hashes --no-deps -r requirements/parties.txt
	@$(PIP) install --quiet --no-deps --no-build-isolation --config-settings editable_mode=compat -e .
	@touch $@

.venv/dev: .venv/parties requirements/dev.txt
	@echo "installing the checks' packages (hash-pinned)..."
	@$(PIP) install --quiet --require-hashes --no-deps -r requirements/dev.txt
	@touch $@

# The TPM's library is built from source, where what it is built against is installed (libtss2-dev, pkg-config).
.venv/tpm: .venv/dev requirements/tpm.txt
	@if pkg-config --exists tss2-esys 2>/dev/null; then \
	    echo "building the TPM's library (hash-pinned)..."; \
	    sed '/^tpm2-pytss/,$$d' requirements/tpm.txt > .venv/tpm-build.txt && \
	    $(PIP) install --quiet --require-hashes --no-deps -r .venv/tpm-build.txt && \
	    $(PIP) install --quiet --require-hashes --no-deps --no-build-isolation -r requirements/tpm.txt; \
	else echo "no libtss2-dev and pkg-config here: what needs a TPM is skipped"; fi
	@touch $@

$(MODEL): .venv/parties
	@$(BIN)/seclude-model install all-minilm-l6-v2 --dir models
	@touch $@

$(LANGUAGE): .venv/parties
	@$(BIN)/seclude-model install smollm2-135m-instruct --dir models
	@touch $@
