"""The sheet: what a pathologist opens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wsi_idc.plotting.blocks import (
    CLOSE_UP_LETTERS,
    draw_close_ups,
    draw_figures,
    draw_key,
    draw_matrix,
    draw_scale_bar,
    mark_close_ups,
)
from wsi_idc.plotting.caption import RESEARCH_USE, Caption
from wsi_idc.plotting.close_ups import CloseUp
from wsi_idc.plotting.error_map import paint_agreement
from wsi_idc.plotting.image_ops import place_boxes, resize
from wsi_idc.plotting.layout import (
    FOOTER,
    GAP,
    HEADER,
    MARGIN,
    PAGE_H,
    PAGE_W,
    STRIP,
    STRIP_H,
    WIDTH,
    Box,
    Layout,
    plan_sheet,
)
from wsi_idc.plotting.mosaic import Mosaic
from wsi_idc.plotting.overlay import mean_grey, paint_probability
from wsi_idc.plotting.page import QUIET, Page, below_middle, save_page
from wsi_idc.plotting.style import Style
from wsi_idc.plotting.tissue_map import outline_tissue
from wsi_idc.plotting.watermark import CAUTION_COLOUR
from wsi_idc.scoring.scores import Scores

_LARGEST_PX_IN = 1 / 33
"""Inches that a mosaic pixel is drawn at most: a slide of one patch shall not fill the page with blur."""


_BAND_IN = 0.19
"""Height of the band of cautions."""

_LINE_IN = 0.01
"""Width of the outlines: a quarter of a millimetre."""

_LARGE = 16
"""Points of what stands in an empty panel."""


def draw_sheet(
    mosaic: Mosaic,
    scores: Scores,
    caption: Caption,
    style: Style,
    path: str | Path,
    close_ups: Sequence[CloseUp] = (),
) -> None:
    """Write the sheet of one slide as a PNG of A4 landscape size, higher with close-ups, atomically.

    Parameters
    ----------
    mosaic : Mosaic
        Without a stamp.
    scores : Scores
        Any number of patches, labelled or not; none at all is said on the sheet.
    caption : Caption
    style : Style
    path : Path
    close_ups : sequence of CloseUp
        At most six, for a strip at the bottom: see `take_close_ups`.
    """
    save_page(Path(path), compose_sheet(mosaic, scores, caption, style, close_ups))


def draw_sheet_pdf(
    mosaic: Mosaic,
    scores: Scores,
    caption: Caption,
    style: Style,
    path: str | Path,
    close_ups: Sequence[CloseUp] = (),
) -> None:
    """Write the sheet as a PDF of A4 landscape pages, atomically: as `draw_sheet`, with close-ups on a second page."""
    from wsi_idc.plotting.page_pdf import save_pdf

    pages = [compose_sheet(mosaic, scores, caption, style, close_ups, strip=False)]
    if close_ups:
        pages.append(compose_close_ups(scores, caption, style, close_ups))
    save_pdf(Path(path), pages, f"Probability of {scores.classes.title} per patch, {caption.title}")


def compose_close_ups(scores: Scores, caption: Caption, style: Style, close_ups: Sequence[CloseUp]) -> Page:
    """A page of close-ups in two rows, with the letters that the sheet has at their places."""
    page = Page(PAGE_W, PAGE_H, style.dpi)
    _draw_header(page, scores, caption)
    height = (PAGE_H - HEADER - FOOTER - GAP) / 2
    for row, at in enumerate(range(0, len(close_ups), 3)):
        box = Box(MARGIN, HEADER + row * (height + GAP / 2), WIDTH, height)
        draw_close_ups(page, box, close_ups[at : at + 3], CLOSE_UP_LETTERS[at:], columns=3)
    _draw_footer(page, scores, caption)
    return page


def compose_sheet(
    mosaic: Mosaic,
    scores: Scores,
    caption: Caption,
    style: Style,
    close_ups: Sequence[CloseUp] = (),
    strip: bool = True,
) -> Page:
    """Put the sheet together: header, panels at one scale, key, confusion matrix, figures and footer.

    Without `strip` close-ups are marked on the slide and not shown.
    """
    page = Page(PAGE_W, PAGE_H + (STRIP_H if close_ups and strip else 0), style.dpi)
    height_px, width_px = mosaic.pixels.shape[:2]
    mpp_x, mpp_y = mosaic.mpp
    extent_mm = (width_px * mpp_x / 1000, height_px * mpp_y / 1000)
    largest = _LARGEST_PX_IN * 1000 / max(mosaic.mpp)
    layout = plan_sheet(extent_mm, largest, labelled=scores.metrics is not None)
    _draw_header(page, scores, caption)
    grey = _draw_panels(page, layout, mosaic, scores, style)
    if strip:
        draw_close_ups(page, STRIP, close_ups)
    mark_close_ups(page, layout.panels[0], close_ups, mosaic.size_l0)
    inch_per_mm = layout.panels[0].width / extent_mm[0]
    draw_scale_bar(page, layout.scale_bar, inch_per_mm, layout.panels[0].width, caption)
    draw_key(page, layout.key, scores, style, grey)
    if layout.confusion is not None:
        draw_matrix(page, layout.confusion, scores)
    draw_figures(page, layout.figures, scores, (mpp_x / mosaic.factor, mpp_y / mosaic.factor), caption)
    _draw_footer(page, scores, caption)
    return page


def _draw_header(page: Page, scores: Scores, caption: Caption) -> None:
    right = page.width - MARGIN
    if caption.kind == "phantom":
        right = page.badge(right, 0.22, size=15) - 0.2
    page.text(MARGIN, 0.42, caption.title, size=15, bold=True, room=right - MARGIN)
    told = "invasive ductal carcinoma (IDC)" if scores.classes.title == "IDC" else scores.classes.title
    line = f"Probability of {told} per patch"
    if scores.classes.told_apart:
        line += f"; calls and figures: {told} against the rest"
    page.text(MARGIN, 0.65, line, size=10, colour=QUIET, room=right - MARGIN)
    if caption.cautions:
        _draw_cautions(page, caption)


def _draw_cautions(page: Page, caption: Caption) -> None:
    """A band across the top of the page."""
    page.rectangle(0, 0, page.width, _BAND_IN, fill=CAUTION_COLOUR)
    told = f"CAUTION: {'; '.join(one.short for one in caption.cautions)}"
    page.text(MARGIN, _BAND_IN - 0.055, told, size=9, bold=True, room=page.width - 2 * MARGIN)


def _draw_panels(page: Page, layout: Layout, mosaic: Mosaic, scores: Scores, style: Style) -> float:
    """Draw the panels; the mean grey of the tissue under the colours comes back, for the colour bar."""
    width_px = max(1, round(layout.panels[0].width * page.dpi))
    height_px = max(1, round(layout.panels[0].height * page.dpi))
    # The outlines are drawn after the reduction: reduced with the tissue they would fade.
    tissue = resize(mosaic.pixels, width_px, height_px)
    covered_l0 = (mosaic.pixels.shape[1] * mosaic.factor, mosaic.pixels.shape[0] * mosaic.factor)
    boxes = place_boxes(scores, (width_px / covered_l0[0], height_px / covered_l0[1]))
    line_px = max(1, min(round(_LINE_IN * page.dpi), boxes.side_px // 5))
    plain = tissue if mosaic.tissue is None else outline_tissue(tissue, mosaic.tissue, line_px)
    pictures = [plain, paint_probability(tissue, boxes, scores, style, line_px)]
    titles = ["Slide" if mosaic.tissue is None else "Slide, tissue outlined", f"Probability of {scores.classes.title}"]
    if len(layout.panels) == 3:
        pictures.append(paint_agreement(tissue, boxes, scores, line_px))
        titles.append("Labels and errors")
    for letter, title, picture, box in zip("ABC", titles, pictures, layout.panels, strict=False):
        page.text(box.x, box.y - 0.07, letter, size=11, bold=True)
        page.text(box.x + 0.22, box.y - 0.07, title, size=10)
        page.picture(box.x, box.y, picture)
    if not scores.readable.any():
        _say_nothing_scored(page, layout, scores)
    return mean_grey(tissue, boxes, scores)


def _say_nothing_scored(page: Page, layout: Layout, scores: Scores) -> None:
    panel = layout.panels[1]
    x, y = panel.x + panel.width / 2, panel.y + panel.height / 2 + below_middle(_LARGE)
    told = "No readable patch" if len(scores) else "No tissue found"
    width, height = page.text(x, y, told, size=_LARGE, bold=True, align="center") + 0.3, 2.2 * _LARGE / 72
    page.rectangle(x - width / 2, panel.y + (panel.height - height) / 2, width, height, fill="white", frame=QUIET)


def _draw_footer(page: Page, scores: Scores, caption: Caption) -> None:
    line = page.height - 0.56
    page.rule(MARGIN, line, page.width - 2 * MARGIN, QUIET, points=0.6)
    room = page.width - 2 * MARGIN
    said = page.fitted(f" \N{MIDDLE DOT} {caption.provenance(scores.threshold)}", room - 1.5)
    # A long name gives way, not the model or the threshold.
    name = page.text(MARGIN, line + 0.18, caption.case, colour=QUIET, room=room - page.width_of(said))
    page.text(MARGIN + name, line + 0.18, said, colour=QUIET)
    page.text(MARGIN, line + 0.36, RESEARCH_USE, size=9, bold=True)
