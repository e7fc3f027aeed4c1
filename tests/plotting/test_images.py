"""Pages of phantoms beside pictures of how they looked when somebody last looked at them.

After a change that is meant, draw them anew with ``python -m tests.plotting.test_images`` and look at each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from tests.plotting.conftest import MadeSource, caption_of
from wsi_idc.phantom import as_case, paint_slide
from wsi_idc.plotting import layout, overlay, sheet
from wsi_idc.plotting.confusion import build_confusion
from wsi_idc.plotting.error_map import OUTCOMES
from wsi_idc.plotting.mosaic import Mosaic, rebuild_mosaic
from wsi_idc.plotting.page import Page, Picture, Rectangle
from wsi_idc.plotting.page_pdf import page_figure
from wsi_idc.plotting.sheet import compose_sheet
from wsi_idc.plotting.style import Style
from wsi_idc.plotting.tissue_map import show_tissue
from wsi_idc.scoring.scores import Scores, make_scores

REFERENCES = Path(__file__).with_name("references")
DPI = 100
STORED = 5
"""A pixel of a reference is the mean of a square of so many pixels of the page."""

MOST = 0.01
"""Share of a picture that may differ."""

STEP = 8
"""Levels that make a difference within the panels, whose pixels no font changes: a missing outline changes 1.6 %."""

LETTERS, LETTERS_STEP = 4, 16
"""Elsewhere: side of the squares of the reference whose means are compared, and levels that make a difference. Letters
that Matplotlib's FreeType draws, as in `test_a_pdf_looks_alike`, change fewer; a missing footer and scale bar 2 %."""

Pixels = NDArray[np.uint8]


@cache
def phantom(width_px: int, height_px: int) -> tuple[MadeSource, Mosaic, Scores]:
    """A painted slide, and probabilities with errors that need no network."""
    painted = paint_slide("90001", 0, width_px, height_px)
    source = as_case(painted)
    near = gaussian_filter(painted.tumour.astype(np.float64), 40)
    lean = np.array([near[p.y : p.y + p.height, p.x : p.x + p.width].mean() for p in source.patches])
    noise = np.random.default_rng(1).normal(0, 1, len(lean))
    prob = 1 / (1 + np.exp(4 - 8 * lean - noise))
    prob[::41] = np.nan
    scores = make_scores("90001", source.patches, np.stack([1 - prob, prob], axis=1), 0.6)
    mosaic = replace(rebuild_mosaic(source), tissue=gaussian_filter(painted.tissue.astype(np.float64), 9) > 0.4)
    return source, mosaic, scores  # type: ignore[return-value]


def sheet_of(
    width_px: int, height_px: int, label: int | None = None, raw: bool = False, colormap: str = "cividis"
) -> Page:
    """The sheet with the phantom's labels or one label for all; `raw` as a slide whose tissue was looked for."""
    source, mosaic, scores = phantom(width_px, height_px)
    if label is not None:
        scores = scores.with_labels(np.full(len(scores), label, dtype=np.int8))
    if not raw:
        mosaic = replace(mosaic, tissue=None)
    caption = caption_of(source, mpp_source="file" if raw else "nominal")
    return compose_sheet(mosaic, scores, caption, Style(colormap, dpi=DPI))


def nothing_found() -> Page:
    source, mosaic, _ = phantom(900, 800)
    scores = make_scores("90001", [], np.empty((0, 2)), 0.45)
    return compose_sheet(mosaic, scores, caption_of(source, mpp_source="file"), Style(dpi=DPI))


def confusion() -> Page:
    _, _, scores = phantom(900, 800)
    assert scores.metrics is not None
    return build_confusion(scores.metrics, "Case 90001", "CancerNet 3fa9c07b", dpi=DPI, phantom=True)


def tissue() -> Page:
    _, mosaic, _ = phantom(900, 800)
    assert mosaic.tissue is not None
    shown = show_tissue(mosaic.pixels, mosaic.tissue)
    page = Page(shown.shape[1] / DPI, shown.shape[0] / DPI, DPI)
    page.picture(0, 0, shown)
    return page


PICTURES: dict[str, Callable[[], Page]] = {
    "sheet": lambda: sheet_of(900, 800),
    "sheet-broad": lambda: sheet_of(1500, 700),
    "sheet-tall": lambda: sheet_of(400, 1600),
    "sheet-slide": lambda: sheet_of(900, 800, label=-1, raw=True, colormap="viridis"),
    "sheet-no-tissue": nothing_found,
    "confusion": confusion,
    "tissue": tissue,
}


def reduced(pixels: NDArray[np.floating] | Pixels, factor: int) -> NDArray[np.float64]:
    """Means of squares; what is over at the right and bottom is left out."""
    height, width = (side // factor for side in pixels.shape[:2])
    squares = pixels[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
    return np.asarray(squares.mean(axis=(1, 3)))


def inside_panels(page: Page) -> NDArray[np.bool_]:
    """Pixels of the reference that lie wholly within a panel, off its frame and off what is drawn over it."""
    height, width = page.pixels().shape[:2]
    mask = np.zeros((height, width, 1))
    for shape in page.shapes:
        if isinstance(shape, Picture) and min(shape.pixels.shape[:2]) > DPI // 4:
            down, across = shape.pixels.shape[:2]
            mask[shape.top_px : shape.top_px + down, shape.left_px : shape.left_px + across] = 1
        elif isinstance(shape, Rectangle) and shape.fill:
            top, left = int(shape.y * DPI) - 1, int(shape.x * DPI) - 1
            mask[top : top + int(shape.height * DPI) + 3, left : left + int(shape.width * DPI) + 3] = 0
    return np.asarray(reduced(mask, STORED)[..., 0] == 1)


def share_changed(page: Page, name: str, drawn: Pixels | None = None) -> float:
    """Share of the picture that is not as the reference has it: of the panels or of the rest, the larger."""
    with Image.open(REFERENCES / f"{name}.png") as image:
        expected = np.asarray(image.convert("RGB"))
    now, panels = reduced(page.pixels() if drawn is None else drawn, STORED), inside_panels(page)
    assert now.shape == expected.shape
    gap = now - expected
    in_panels = (np.abs(gap).max(axis=2) > STEP)[panels]
    elsewhere = np.abs(reduced(np.where(panels[..., None], 0, gap), LETTERS)).max(axis=2) > LETTERS_STEP
    return float(max(in_panels.mean() if panels.any() else 0, elsewhere.mean()))


def redraw() -> None:
    REFERENCES.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        small = np.rint(reduced(draw().pixels(), STORED)).astype(np.uint8)
        Image.fromarray(small).save(REFERENCES / f"{name}.png", optimize=True)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_look_as_they_did(name: str) -> None:
    assert share_changed(PICTURES[name](), name) <= MOST


@pytest.mark.parametrize("name", ["sheet", "sheet-tall", "sheet-no-tissue", "confusion"])
def test_a_pdf_looks_alike(name: str) -> None:
    page = PICTURES[name]()
    canvas = FigureCanvasAgg(page_figure(page))
    canvas.draw()
    assert share_changed(page, name, np.asarray(canvas.buffer_rgba())[..., :3]) <= MOST


def without_outline(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(overlay, "draw_outline", lambda *_: None)


def without_key(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sheet, "draw_key", lambda *_: None)


def without_figures(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sheet, "draw_figures", lambda *_: None)


def without_scale_bar_and_footer(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sheet, "draw_scale_bar", lambda *_: None)
    patch.setattr(sheet, "_draw_footer", lambda *_: None)


def panels_moved(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(layout, "GAP", layout.GAP + 0.1)


def other_outcome(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(OUTCOMES, "TN", ("true negative", (190, 190, 190)))


@pytest.mark.parametrize(
    "change", [without_outline, without_key, without_figures, without_scale_bar_and_footer, panels_moved, other_outcome]
)
def test_a_change_is_seen(change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch) -> None:
    change(monkeypatch)
    assert share_changed(PICTURES["sheet"](), "sheet") > MOST


@pytest.mark.parametrize("colormap", ["viridis", "cividis_r", "Greys"])
def test_another_colormap_is_seen(colormap: str) -> None:
    assert share_changed(sheet_of(900, 800, colormap=colormap), "sheet") > MOST


if __name__ == "__main__":
    redraw()
