# What .ci/run checks, one target each; lint looks for misspellings, too. Then what a maintainer makes.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup test lint types real release image

setup:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -e ".[test]" pre-commit

test:
	$(BIN)/python -m pytest -n 2

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

types:
	$(BIN)/mypy --strict wsi_idc

real:
	@test -n "$(DATA)" || { echo "Name the folder of the real data: make real DATA=DIR" >&2; exit 2; }
	WSI_IDC_TEST_DATA="$(abspath $(DATA))" $(BIN)/python -m pytest tests/real

release:
	$(BIN)/python tools/release.py

image:
	podman build --build-arg DEVICE=$(or $(DEVICE),cpu) --build-arg VERSION=$$($(PYTHON) -c 'import runpy; print(runpy.run_path("wsi_idc/_version.py")["__version__"])') -t wsi-idc .
