# Everything here sets itself up: all it takes is make, Python 3.11 or later, and a package index to install from.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test nightly s3 tables figures audit clean

demo: $(VENV)/.ready-report  ## a teacher from elsewhere and its students, on digits; ends with a table and a page
	$(BIN)/preceptor demo --out demo

test: $(VENV)/.ready-dev  ## style, types and the whole test suite
	$(BIN)/ruff check src tests tools experiments examples
	$(BIN)/ruff format --check src tests tools experiments examples
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist worksteal

nightly: $(VENV)-nightly/.ready  ## tests of what is too large to install for every run: sweeps on Ray
	$(VENV)-nightly/bin/pytest -m nightly

s3: $(VENV)-s3/.ready  ## an environment in which "make test" also tests a local S3 server

tables: $(VENV)/.ready-report  ## write the tables of results/ into the README and docs/
	$(BIN)/python tools/fill_tables.py README.md $(wildcard docs/*.md docs/*/*.md)
	$(BIN)/python -m experiments.unreliable.gains

figures: $(VENV)/.ready-report  ## draw the figures of docs/ from results/
	$(BIN)/python tools/make_figures.py docs/img

audit: $(VENV)/.ready-dev $(VENV)-audit/.ready  ## what is installed: does it fit, is it pinned, its licences, its known weaknesses
	$(BIN)/python tools/audit_dependencies.py $(BIN)/python $(VENV)-audit/bin $(AUDIT)

# An environment with one extra of the package: report for the demo, dev for the tests.
$(VENV)/.ready-%: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("Preceptor needs Python 3.11 or later, found " + sys.version.split()[0] + ": make PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[$*]'
	@touch $@

# What looks at an environment lives in another, so that it is not found in the one it looks at.
$(VENV)-audit/.ready:
	test -x $(VENV)-audit/bin/python || $(PYTHON) -m venv $(VENV)-audit
	$(VENV)-audit/bin/python -m pip install --quiet 'pip-audit>=2.9' 'pip-licenses>=5'
	@touch $@

$(VENV)-nightly/.ready: pyproject.toml constraints.txt
	test -x $(VENV)-nightly/bin/python || $(PYTHON) -m venv $(VENV)-nightly
	$(VENV)-nightly/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[test,ray]'
	@touch $@

$(VENV)-s3/.ready: $(VENV)/.ready-dev constraints-s3.txt tools/s3_environment.sh
	tools/s3_environment.sh $(BIN)/python
	@touch $@

clean:  ## take away the environment and what the tools left
	rm -rf $(VENV) $(VENV)-audit $(VENV)-nightly $(VENV)-s3 .pytest_cache .mypy_cache .ruff_cache .hypothesis
