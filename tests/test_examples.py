from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_one_case(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sheet.png"
    monkeypatch.setattr("sys.argv", ["one_case.py", "90001", "demo", str(out)])
    runpy.run_path(str(EXAMPLES / "one_case.py"), run_name="__main__")
    assert "patches" in capsys.readouterr().out
    with Image.open(out) as sheet:
        assert sheet.width > sheet.height > 1000
