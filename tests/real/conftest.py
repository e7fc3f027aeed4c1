"""Tests over real data. ``WSI_IDC_TEST_DATA`` names the folder that holds ``idc/complete-cases.zip``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def complete_cases() -> Path:
    """Zip of whole cases of the IDC set; skipped where no folder is named, failed where a named one is missing."""
    named = os.environ.get("WSI_IDC_TEST_DATA")
    if not named:
        pytest.skip("WSI_IDC_TEST_DATA names no folder of real data")
    path = Path(named).resolve() / "idc" / "complete-cases.zip"
    if not path.is_file():
        pytest.fail(f"WSI_IDC_TEST_DATA is set, but {path} is missing")
    return path
