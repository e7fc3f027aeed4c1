from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from PIL import Image
from tifffile import TiffFile

from tests.sources.test_slide import smooth_tissue, write_slide

EXAMPLES = Path(__file__).parent.parent / "examples"


def test_one_case(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "sheet.png"
    monkeypatch.setattr("sys.argv", ["one_case.py", "90001", "demo", str(out)])
    runpy.run_path(str(EXAMPLES / "one_case.py"), run_name="__main__")
    assert "patches" in capsys.readouterr().out
    with Image.open(out) as sheet:
        assert sheet.width > sheet.height > 1000


def test_raw_slide(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slide = write_slide(tmp_path / "a.tiff", smooth_tissue(1_200, 1_200), 1.0)
    monkeypatch.setattr("sys.argv", ["raw_slide.py", str(slide), str(tmp_path / "out")])
    runpy.run_path(str(EXAMPLES / "raw_slide.py"), run_name="__main__")
    assert "tiles with tissue" in capsys.readouterr().out
    with TiffFile(tmp_path / "out" / "mosaic.ome.tif") as tiff:
        assert tiff.series[0].levels[0].shape == (300, 300, 3)
