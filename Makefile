# What the checks run, one target each.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: setup test lint types real

setup:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -e ".[test]" pre-commit

test:
	$(BIN)/python -m pytest

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy --strict wsi_idc

real:
	WSI_IDC_TEST_DATA=$(DATA) $(BIN)/python -m pytest tests/real
