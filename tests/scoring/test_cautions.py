"""Why the results of a slide must be taken with caution, from the file to the summary."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.slides.test_slide import smooth_tissue, write_slide
from wsi_idc.io.jpeg_tiles import jpeg_quality
from wsi_idc.slides.slide import Slide


@pytest.mark.parametrize("quality", [25, 30, 50, 69, 70, 90, 100])
def test_the_quality_of_a_jpeg(quality: int) -> None:
    file = io.BytesIO()
    Image.fromarray(smooth_tissue(64, 64)).save(file, format="JPEG", quality=quality)
    assert jpeg_quality(file.getvalue()) == pytest.approx(quality, abs=1)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff\xdb\x00\x43\x00" + bytes(10)])
def test_no_table_is_no_quality(data: bytes) -> None:
    assert jpeg_quality(data) is None


def codes(path: Path, **options: object) -> list[str]:
    with Slide(path, **options) as slide:  # type: ignore[arg-type]
        return [caution.code for caution in slide.cautions]


@pytest.mark.parametrize(("quality", "expected"), [(40, ["compression"]), (90, [])])
def test_strong_compression(tmp_path: Path, quality: int, expected: list[str]) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        smooth_tissue(512, 512),
        photometric="rgb",
        tile=(256, 256),
        compression="jpeg",
        compressionargs={"level": quality},
        resolution=(5e3, 5e3),
        resolutionunit="CENTIMETER",
    )
    assert codes(path) == expected


def test_scale_by_hand_and_upsampling(tmp_path: Path) -> None:
    path = write_slide(tmp_path / "a.tiff", smooth_tissue(400, 400), None)
    assert codes(path, mpp=2.0) == ["scale"]
    assert codes(path, mpp=12.0, allow_upsampling=True) == ["scale", "upsampled"]


def test_cautions_reach_run_json_summary_and_report(run: Callable[..., object], tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    write_slide(tmp_path / "slides" / "a.tiff", smooth_tissue(900, 900), None)
    out = tmp_path / "out"
    ran = run("score", "all", "--slides", tmp_path / "slides", "--mpp", "2.0", "--out", out)
    assert ran.code == 0 and "with caution" in ran.err  # type: ignore[attr-defined]
    told = json.loads((out / "a.tiff" / "run.json").read_text())["cautions"]
    assert [caution["code"] for caution in told] == ["scale", "material", "glass-unknown", "unlike-training"]
    assert all(caution["sentence"].endswith(".") for caution in told)
    with (out / "summary.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["cautions"] == "scale material glass-unknown unlike-training"
    assert ">caution</span>" in (out / "report.html").read_text()
    assert not np.isnan(float(row["tissue_mm2"]))
