"""Tests over real data. ``WSI_IDC_TEST_DATA`` names the folder of ``idc/complete-cases.zip`` and ``slides/``."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def complete_cases() -> Path:
    """Zip of whole cases of the IDC set."""
    return _named("idc/complete-cases.zip")


@pytest.fixture(scope="session")
def slides() -> Path:
    """Folder of raw slides."""
    return _named("slides")


def _named(name: str) -> Path:
    """Skipped where no folder is named, failed where something is missing in a named one."""
    named = os.environ.get("WSI_IDC_TEST_DATA")
    if not named:
        pytest.skip("WSI_IDC_TEST_DATA names no folder of real data")
    path = Path(named).resolve() / name
    if not path.exists():
        pytest.fail(f"WSI_IDC_TEST_DATA is set, but {path} is missing")
    return path
