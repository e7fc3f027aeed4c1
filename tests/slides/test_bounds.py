"""Slides of which OpenSlide tells the bounds: QuPath counts pixels from their corner."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.conftest import Ran
from wsi_idc.geometry import IDC_PATCH, tile_edges
from wsi_idc.phantom import paint_slide
from wsi_idc.slides.slide import Slide
from wsi_idc.slides.tile_grid import LEAST_ON_SLIDE

Run = Callable[..., Ran]

SCAN_PX, GLASS_PX, MPP = 1_600, 4_000, 1.0
_NM = 1_000

OFFSETS = [(0, 0), (800, 400), (530, 1_170), (1_201, 399)]
"""Corners of the scan in pixels, on and off the grid of tiles."""


def write_scn(path: Path, offset_px: tuple[int, int]) -> Path:
    """A brightfield SCN of one scanned area, by Leica's layout: a macro image of the glass, and the scan on it."""
    scan = np.tile(paint_slide("90001", 0, 320, 320).pixels, (5, 5, 1))
    macro = np.full((256, 256, 3), 240, np.uint8)

    def image(name: str, side: int, ifd: int, view: int, x: int, y: int, power: str) -> str:
        return (
            f'<image name="{name}" uuid="urn:uuid:{name}"><creationDate>2020-01-01T00:00:00Z</creationDate>'
            f'<device model="made" version="0"/><pixels sizeX="{side}" sizeY="{side}">'
            f'<dimension sizeX="{side}" sizeY="{side}" r="0" ifd="{ifd}"/></pixels>'
            f'<view sizeX="{view}" sizeY="{view}" offsetX="{x}" offsetY="{y}" spacingZ="0"/><scanSettings>'
            f"<objectiveSettings><objective>{power}</objective></objectiveSettings><illuminationSettings>"
            "<numericalAperture>0.4</numericalAperture><illuminationSource>brightfield</illuminationSource>"
            "</illuminationSettings></scanSettings></image>"
        )

    glass = int(GLASS_PX * MPP * _NM)
    x, y = (int(at * MPP * _NM) for at in offset_px)
    about = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="urn:uuid:a">'
        f'<collection name="c" uuid="urn:uuid:b" sizeX="{glass}" sizeY="{glass}">'
        + image("macro", 256, 0, glass, 0, 0, "0.6")
        + image("scan", SCAN_PX, 1, int(SCAN_PX * MPP * _NM), x, y, "20")
        + "</collection></scn>"
    )
    layout = {"photometric": "rgb", "compression": "jpeg", "metadata": None, "software": "", "tile": (256, 256)}
    scale = {"resolution": (1e4 / MPP, 1e4 / MPP), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(macro, description=about, **layout, **scale)
        tiff.write(scan, **layout, **scale)
    return path


def write_left_half(path: Path) -> Path:
    """What a pathologist draws in QuPath, which shows the scan alone."""
    half = SCAN_PX // 2
    ring = [[0, 0], [half, 0], [half, SCAN_PX], [0, SCAN_PX], [0, 0]]
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    return path


@pytest.mark.parametrize("offset", OFFSETS)
def test_tiles_lie_within_what_was_scanned(tmp_path: Path, offset: tuple[int, int]) -> None:
    path = write_scn(tmp_path / "a.scn", offset)
    with Slide(path, tissue_mask=False) as slide:
        assert slide.origin_px == pytest.approx(offset, abs=1)
        assert slide.read(0, len(slide.patches)).readable.all()
        inside = [
            np.diff(np.clip(tile_edges(length, mpp, IDC_PATCH.um), at, at + SCAN_PX)) * mpp
            for length, mpp, at in zip(slide.size_px, slide.mpp, slide.origin_px, strict=True)
        ]
        whole = IDC_PATCH.um**2
        wanted = (np.outer(inside[1], inside[0]) >= LEAST_ON_SLIDE * whole).sum()
        assert len(slide.patches) == wanted
        starts = {p.x for p in slide.patches}
        assert starts <= set(tile_edges(slide.size_px[0], slide.mpp[0], IDC_PATCH.um))


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("form", ["tiles", "contours"])
def test_a_label_lands_where_it_was_drawn_and_scores_where_they_are(
    run: Run, tmp_path: Path, offset: tuple[int, int], form: str
) -> None:
    path, labels = write_scn(tmp_path / "a.scn", offset), write_left_half(tmp_path / "left.geojson")
    given = ("--labels", labels, "--no-tissue-mask", "--threshold", 0, "--geojson", form)
    ran = run("heatmap", "slide", path, *given, "--out", tmp_path / "out", "--batch-size", 16)
    assert ran.code == 0, ran.err
    with (tmp_path / "out" / "a.scn" / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    x, y = json.loads((tmp_path / "out" / "a.scn" / "run.json").read_text())["source"]["origin_px"]
    for row in rows:
        left, top, width, height = (int(row[name]) for name in ("minx", "miny", "width", "height"))
        across = min(left + width, x + SCAN_PX // 2) - max(left, x)
        down = min(top + height, y + SCAN_PX) - max(top, y)
        share = max(across, 0) * max(down, 0) / (width * height)
        if abs(share - 0.8) > 0.01:
            assert row["label"] == str(int(share > 0.8))
    assert {row["label"] for row in rows} == {"0", "1"}
    features = json.loads((tmp_path / "out" / "a.scn" / "scores.geojson").read_text())["features"]
    corners = np.array([point for feature in features for point in feature["geometry"]["coordinates"][0]])
    assert corners.min(axis=0).tolist() == [
        min(int(row["minx"]) for row in rows) - x,
        min(int(r["miny"]) for r in rows) - y,
    ]
