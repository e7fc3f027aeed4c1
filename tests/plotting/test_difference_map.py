"""The page of ``compare``: maps, their difference, and the figures beneath."""

from __future__ import annotations

import re
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.plotting.conftest import make_source
from tests.plotting.results import add_slide
from wsi_idc.evaluation.paired import pair_scores
from wsi_idc.plotting.changes import table_rows
from wsi_idc.plotting.difference_map import paint_difference
from wsi_idc.plotting.image_ops import place_boxes
from wsi_idc.plotting.page import Page
from wsi_idc.plotting.page_pdf import save_pdf
from wsi_idc.report.comparison import compare, picture_name


def test_what_falls_is_told_from_what_rises_in_grey(tmp_path: Path) -> None:
    scores = add_slide(tmp_path, make_source(2, 1), "8863", draw=False)
    boxes = place_boxes(scores, (1.0, 1.0))
    ground = np.full((50, 100, 3), 255, np.uint8)
    painted = paint_difference(ground, boxes, scores, np.array([-0.6, 0.6]), np.zeros(2, bool), 1)
    luma = painted @ np.array([0.299, 0.587, 0.114])
    fell, rose = (luma[where][3:-3, 3:-3] for _, where in boxes.slices(np.ones(2, bool)))
    assert abs(np.median(fell) - np.median(rose)) < 40
    assert fell.std() > 20 and rose.std() < 1


def test_the_table_tells_both_and_what_changed(tmp_path: Path) -> None:
    first = add_slide(tmp_path, make_source(6, 5), "8863", draw=False)
    second = replace(first, threshold=0.9)
    said = {(int(first.minx[0]), int(first.miny[0]), int(first.width[0]), int(first.height[0])): True}
    rows = {row[0]: row[1:] for row in table_rows(pair_scores(first, second, said), (8.0, 8.0))}
    called = [int(of.pred.sum()) for of in (first, second)]
    assert rows["Patches called IDC"] == (str(called[0]), str(called[1]), f"\N{MINUS SIGN}{called[0] - called[1]}")
    areas = [of.areas_mm2((8.0, 8.0))[1] for of in (first, second)]
    assert rows["Area called IDC, mm²"][:2] == tuple(f"{area:.1f}" for area in areas)
    assert first.metrics is not None
    assert rows["AUC"] == (f"{first.metrics.auc:.3f}", f"{first.metrics.auc:.3f}", "0.000")
    assert rows["Agrees with corrections"][0] == f"{int(first.pred[0])} of 1"
    unlabelled = replace(first, label=np.full(len(first), -1, dtype=np.int8))
    assert len(table_rows(pair_scores(unlabelled, unlabelled), (8.0, 8.0))) == 2


@pytest.mark.parametrize("size", [(12, 10), (2, 40)])
def test_nothing_of_the_page_lies_over_its_footer(tmp_path: Path, size: tuple[int, int]) -> None:
    from PIL import Image

    for seed, name in enumerate("ab"):
        add_slide(tmp_path / name, make_source(*size), "8863", draw=False, seed=seed)
    compare(tmp_path / "a", tmp_path / "b", tmp_path / "out")
    page = np.asarray(Image.open(tmp_path / "out" / picture_name("8863")).convert("L"))
    dpi = 200
    assert page.shape[1] == round(11.69 * dpi) and page.shape[0] >= round(8.27 * dpi)
    # A white strip over the rule of the footer, and figures above it.
    assert page[-round(0.68 * dpi) : -round(0.58 * dpi)].min() == 255
    assert page[-round(2.4 * dpi) : -round(1.0 * dpi)].min() < 60


def test_a_pdf_has_text_as_text_and_pictures_where_they_stood(tmp_path: Path) -> None:
    page = Page(4, 3, 100)
    page.text(0.5, 0.5, "For research use only.")
    page.picture(1.0, 1.0, np.full((100, 150, 3), (200, 10, 10), np.uint8))
    save_pdf(tmp_path / "a.pdf", [page], "A sheet")
    content = (tmp_path / "a.pdf").read_bytes()
    assert re.search(rb"/MediaBox \[ 0 0 288 216 \]", content)
    parts = [zlib.decompress(of) for of in re.findall(rb"/FlateDecode.*?stream\r?\n(.*?)\r?\nendstream", content, re.S)]
    text = b"".join(re.findall(rb"\((.*?)\)", b"".join(part for part in parts if b"BT" in part)))
    assert text.replace(b"\0", b"").replace(b" ", b"") == b"Forresearchuseonly."
    # The picture, at its own pixels: 1.5 by 1 inches, 1 inch from the left and from the top.
    assert any(b"72 72 108 72 re" in part and b" Do" in part for part in parts)
    assert re.search(rb"/Width 150", content) and re.search(rb"/Height 100", content)
