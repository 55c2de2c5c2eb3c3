# Everything for people: each of the first three sets up what it needs.
#   make demo      train, compress, verify and measure a small network; prints where its report is
#   make test      what must hold before a change is done (under 10 minutes on 2 cores)
#   make test-all  the same with the slow tests
# Settings: PYTHON=... (3.11 or newer), WORKERS=2 (test processes).

PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$name -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$name; break; }; done)
WORKERS ?= 2

BIN := .venv/bin
INSTALLED := .venv/.installed

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-all lint format install constraints clean
.DEFAULT_GOAL := test

demo: $(INSTALLED)
	$(BIN)/tinyml demo -o runs/demo --overwrite

# Two test processes on two cores: one thread each, which waits without spinning.
test test-all: export OMP_NUM_THREADS = 1
test test-all: export OMP_WAIT_POLICY = PASSIVE

test: lint
	$(BIN)/python -m pytest -n $(WORKERS) -q -m "not slow"

test-all: lint
	$(BIN)/python -m pytest -n $(WORKERS) -q

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[dev,images]'
	@touch $@

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Error: no Python 3.11 or newer with venv found; install one, or say make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Error: Python %d.%d is too old; tinyml needs 3.11 or newer" % v[:2])'
	$(PYTHON) -m venv .venv

# The versions in .venv become the pins; a local build's suffix (2.13.0+cpu) is nobody else's business.
constraints:
	{ echo "# What 'make install' installs: the versions that tinyml was tested with. 'make constraints' writes this file."; \
	  $(BIN)/python -m pip freeze --all --exclude-editable | grep -v '^pip=' | sed 's/+[^ ]*$$//'; } > constraints.new
	mv constraints.new constraints.txt

clean:
	rm -rf build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
