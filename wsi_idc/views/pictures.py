"""All pictures of a slide."""

from __future__ import annotations

from pathlib import Path

from wsi_idc.scoring.scores import Scores
from wsi_idc.sources.base import PatchSource
from wsi_idc.views.caption import Caption
from wsi_idc.views.confusion import save_confusion
from wsi_idc.views.mosaic import rebuild_mosaic
from wsi_idc.views.overlay import paint_overlay
from wsi_idc.views.raster import save_png
from wsi_idc.views.sheet import draw_sheet
from wsi_idc.views.stamp import stamp_phantom
from wsi_idc.views.style import Style


def draw_all(source: PatchSource, scores: Scores, caption: Caption, style: Style, folder: Path) -> Path:
    """Write ``mosaic.png``, ``overlay.png``, ``confusion.png`` and ``heatmap.png``; the last one's path comes back.

    Each is written whole or not at all. Without labels there is no ``confusion.png``, and an older one is removed.

    Parameters
    ----------
    source : PatchSource
        Where the pixels come from.
    scores : Scores
        Of the same slide.
    caption : Caption
    style : Style
    folder : Path
        An existing folder.
    """
    phantom = caption.kind == "phantom"
    mosaic = rebuild_mosaic(source)
    overlay = paint_overlay(mosaic, scores, style)
    for name, pixels in (("mosaic.png", mosaic.pixels), ("overlay.png", overlay)):
        save_png(folder / name, stamp_phantom(pixels) if phantom else pixels)
    confusion = folder / "confusion.png"
    if scores.metrics is None:
        confusion.unlink(missing_ok=True)
    else:
        save_confusion(scores.metrics, confusion, caption.case, caption.model, dpi=style.dpi, phantom=phantom)
    sheet = folder / "heatmap.png"
    draw_sheet(mosaic, scores, caption, style, sheet)
    return sheet
