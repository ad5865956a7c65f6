# `make quickstart` shows the product, `make test` proves it. Each makes .venv when it is missing.

PYTHON ?= python3
BIN := .venv/bin
# slow tests run in continuous integration; `make test SLOW=1` runs them here
MARKS := $(if $(or $(CI),$(SLOW)),not fuzz,not slow and not fuzz)
SMOKE := $(CURDIR)/.smoke

.PHONY: quickstart test lint types imports tests interop fuzz wheel system clean

quickstart: .venv/ready
	$(BIN)/demos quickstart

test: lint types imports tests interop wheel

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: .venv/ready
	$(BIN)/mypy

imports: .venv/ready
	$(BIN)/lint-imports

tests: .venv/ready
	$(BIN)/pytest -m "$(MARKS)" --durations=15

# the real lerobot on what we write; its pins are older than ours, so it has an environment of its own
interop: .venv-lerobot/ready
	HF_HUB_OFFLINE=1 .venv-lerobot/bin/pytest -m "$(MARKS)" --durations=5 tests/interop

# a thousand harmed recordings of every format, imported under watch; an hour and a half
fuzz: .venv/ready
	$(BIN)/pytest -m fuzz --durations=15

# the wheel, installed in a clean environment and used from another folder
wheel: .venv/ready
	rm -rf $(SMOKE) && mkdir -p $(SMOKE)/elsewhere
	$(BIN)/python -m build -q --wheel --outdir $(SMOKE)/dist .
	$(BIN)/check-wheel-contents $(SMOKE)/dist/*.whl
	$(PYTHON) -m venv $(SMOKE)/venv
	$(SMOKE)/venv/bin/python -m pip install -q --upgrade pip
	$(SMOKE)/venv/bin/python -m pip install -q "$$(ls $(SMOKE)/dist/*.whl)[all]"
	cd $(SMOKE)/elsewhere && ../venv/bin/python $(CURDIR)/tests/wheel_smoke.py
	rm -rf $(SMOKE)

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -e '.[all]' --group dev
	touch $@

.venv-lerobot/ready: pyproject.toml tests/interop/requirements.txt tests/interop/requirements-nodeps.txt
	$(PYTHON) -m venv .venv-lerobot
	.venv-lerobot/bin/python -m pip install -q --upgrade pip
	.venv-lerobot/bin/python -m pip install -q -e '.[score]' pytest hypothesis -r tests/interop/requirements.txt
	.venv-lerobot/bin/python -m pip install -q --no-deps -r tests/interop/requirements-nodeps.txt
	touch $@

# what Debian calls the libraries that draw simulated images, and the browser that tests the viewer,
# and FFmpeg's libraries for lerobot's decoder
system:
	apt-get update -qq
	apt-get install -y -qq --no-install-recommends libegl1 libgl1-mesa-dri libosmesa6 chromium ffmpeg

clean:
	rm -rf .venv .venv-lerobot $(SMOKE) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
