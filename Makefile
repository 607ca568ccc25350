# make setup   install everything into .venv and node_modules
# make demo    refine a small archive and serve the site
# make serve   serve the site
# make test    run the tests
# make lint    check style, types and the direction of imports
# make bench   measure the engine

PYTHON ?= python3
BIN := .venv/bin
STAMP := .installed

# Arrays here are small: more threads in linear algebra only get in the way of each other.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

# Programs of their own, not suites.
PROGRAMS := $(addprefix benchmarks/,assembly.py curation.py fetching.py half_maps.py kills.py refinement.py shifted_starts.py target.py toolbox_gradient.py \
	validation.py)

.PHONY: setup demo serve test lint bench

setup: .venv/$(STAMP) static/vendor/$(STAMP)

.venv/$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
		echo "Python is missing. Install Python 3.11 or later (Debian: apt install python3 python3-venv)."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "$$($(PYTHON) --version) is too old. Ceres needs 3.11 or later: make PYTHON=python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { \
		rm -rf .venv; echo "Python can't make virtual environments. Install venv (Debian: apt install python3-venv)."; exit 1; }
	@echo "Installing Python packages into .venv ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,postgres]'
	@touch $@

node_modules/$(STAMP): package.json package-lock.json
	@command -v npm >/dev/null || { \
		echo "Node.js is missing. Install Node.js 18 or later with npm (Debian: apt install nodejs npm)."; exit 1; }
	@echo "Installing browser libraries into node_modules ..."
	@npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

static/vendor/$(STAMP): node_modules/$(STAMP) tools/vendor_static.py | .venv/$(STAMP)
	@$(BIN)/python tools/vendor_static.py
	@touch $@

demo: setup
	@$(BIN)/python manage.py demo

serve: setup
	@$(BIN)/python manage.py migrate --verbosity 0
	@echo "The site is at http://127.0.0.1:$${CERES_DEMO_PORT:-8000}/   (Ctrl-C ends it)"
	@$(BIN)/python -m gunicorn ceres.wsgi --bind "127.0.0.1:$${CERES_DEMO_PORT:-8000}" --threads 4 --log-level warning

test: setup
	@$(BIN)/python -m pytest

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup
	@$(BIN)/python -m pytest $(filter-out $(PROGRAMS),$(wildcard benchmarks/*.py)) --benchmark-only --benchmark-columns=min,median,rounds
