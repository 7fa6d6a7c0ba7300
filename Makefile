# make app    install what is missing and serve the studio on MUSICSTAR_HOST:MUSICSTAR_PORT (127.0.0.1:7860)
# make test   install what checks the project and run all of it
PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PINS := pyproject.toml constraints.txt
PACKAGES := chromium libfluidsynth3 fluid-soundfont-gm
.DEFAULT_GOAL := app
.SHELLFLAGS := -eu -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
# A browser from elsewhere serves as well, and Ubuntu's package of that name is a stub that cannot start one.
MISSING = for p in $(PACKAGES); do \
	if [ $$p = chromium ]; then \
		for b in chromium chromium-browser google-chrome; do $$b --version >/dev/null 2>&1 && continue 2; done; \
	elif dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed'; then continue; fi; \
	printf '%s ' $$p; done
.PHONY: app test check format system-packages constraints clean

app: $(VENV)/.app
	exec $(BIN)/python app.py

test: $(VENV)/.test system-packages check

check:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder

format:
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not installed; Music-STAR studio needs Python 3.11 or newer." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = "%d.%d" % sys.version_info[:2]; sys.exit(None if sys.version_info >= (3, 11) else "Music-STAR studio needs Python 3.11 or newer and $(PYTHON) is " + v + "; name another: make PYTHON=python3.12 ...")'
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "$(PYTHON) has no venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.app: $(PINS) | $(VENV)/.made
	@echo "Installing what the studio needs into $(VENV): 6 GB on disk, a few minutes once."
	$(PIP) install --quiet -c constraints.txt -e .
	@touch $@

# All the app needs is installed along, so neither command makes the other install again.
$(VENV)/.test: $(PINS) | $(VENV)/.made
	@echo "Installing what the studio and its tests need into $(VENV): 6 GB on disk, a few minutes once."
	$(PIP) install --quiet -c constraints.txt -e '.[render,eval,cluster,dev]'
	@touch $(VENV)/.app $@

# The tests that need a missing package skip and name it, so this never fails.
system-packages: $(VENV)/.packages
	@want=$$($(MISSING)); [ -z "$$want" ] || echo "Not installed, and the tests that need them skip: $$want"

# What cannot be had is not asked for each time: again once this stamp is gone or the Makefile has changed.
$(VENV)/.packages: Makefile | $(VENV)/.made
	@want=$$($(MISSING)); [ -n "$$want" ] || { touch $@; exit 0; }; \
	if [ "$$(id -u)" = 0 ]; then as_root=; elif sudo -n true 2>/dev/null; then as_root='sudo -n'; else exit 0; fi; \
	command -v apt-get >/dev/null || exit 0; \
	apt="$$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=2"; \
	$$apt update </dev/null || true; \
	for p in $$want; do $$apt install -y --no-install-recommends $$p </dev/null || true; done; \
	touch $@

# To run in an environment that only `make test` has filled, on the oldest Python that is supported.
constraints:
	@{ echo '# Every package at the version the tests ran with; written by `make constraints`.'; \
	   $(PIP) freeze --exclude-editable; } >constraints.tmp
	mv constraints.tmp constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
