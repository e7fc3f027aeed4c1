"""All pictures of a slide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsi_idc.plotting.caption import Caption
from wsi_idc.plotting.class_map import add_legend, paint_classes
from wsi_idc.plotting.close_ups import take_close_ups
from wsi_idc.plotting.confusion import save_class_confusion, save_confusion
from wsi_idc.plotting.image_ops import encode_png, reduce_image, resize, save_png
from wsi_idc.plotting.mosaic import rebuild_mosaic
from wsi_idc.plotting.overlay import paint_overlay
from wsi_idc.plotting.sheet import draw_sheet, draw_sheet_pdf
from wsi_idc.plotting.style import Style
from wsi_idc.plotting.tissue_map import show_tissue
from wsi_idc.plotting.watermark import stamp_cautions, stamp_phantom
from wsi_idc.scoring.file_names import CLASSES_FILE, MOSAIC_FILE, SHEET_FILE, SHEET_PDF
from wsi_idc.scoring.scores import Scores
from wsi_idc.source import PatchSource, SourceKind

TISSUE_SIDE_PX = 2_048
"""Longest side of ``tissue.png``: a thumbnail that fills a screen."""

THUMBNAIL_PX = (240, 180)
"""Room for a thumbnail: sharp at half that size on a screen of two pixels a point."""


def save_mosaic(source: PatchSource, folder: Path) -> Path:
    """Write ``mosaic.png`` alone: see `draw_all`."""
    return save_picture(folder / MOSAIC_FILE, rebuild_mosaic(source).pixels, source.kind, thumbnail=True)


def save_picture(path: Path, pixels: NDArray[np.uint8], kind: SourceKind, thumbnail: bool = False) -> Path:
    """Write a picture of a slide, shape (height, width, 3); one of a phantom says so in a corner.

    With a `thumbnail` in it, the report need not decode all of it.
    """
    shown = stamp_phantom(pixels) if kind == "phantom" else pixels
    held = encode_png(reduce_image(Image.fromarray(shown), THUMBNAIL_PX)) if thumbnail else b""
    save_png(path, shown, thumbnail=held)
    return path


def draw_all(
    source: PatchSource, scores: Scores, caption: Caption, style: Style, folder: Path, pdf: bool = False
) -> Path:
    """Write the pictures of a slide; the path of ``heatmap.png`` comes back.

    ``mosaic.png``, and at its scale ``overlay.png`` with the cautions in a corner;
    ``confusion.png`` where labels are known, ``classes.png`` where the model has more than two, and ``tissue.png``
    where tissue was looked for. Each is written atomically, and an older one that no longer belongs is removed.

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
    pdf : bool
        The sheet as ``heatmap.pdf``, too.
    """
    mosaic = rebuild_mosaic(source)
    save_picture(folder / MOSAIC_FILE, mosaic.pixels, caption.kind, thumbnail=True)
    overlay = stamp_cautions(paint_overlay(mosaic, scores, style), caption.cautions)
    save_picture(folder / "overlay.png", overlay, caption.kind)
    classes, phantom = folder / CLASSES_FILE, caption.kind == "phantom"
    if scores.classes.told_apart:
        painted = paint_classes(mosaic, scores)
        # What is stamped on the map would hide part of the legend.
        save_png(classes, add_legend(stamp_phantom(painted) if phantom else painted, scores))
    else:
        classes.unlink(missing_ok=True)
    confusion = folder / "confusion.png"
    if scores.metrics is None:
        confusion.unlink(missing_ok=True)
    elif scores.class_metrics is not None:
        save_class_confusion(
            scores.class_metrics, confusion, caption.case, caption.model, dpi=style.dpi, phantom=phantom
        )
    else:
        names = scores.classes.negative_title, scores.classes.title
        save_confusion(
            scores.metrics, confusion, caption.case, caption.model, dpi=style.dpi, phantom=phantom, names=names
        )
    tissue = folder / "tissue.png"
    if mosaic.tissue is None:
        tissue.unlink(missing_ok=True)
    else:
        height_px, width_px = mosaic.pixels.shape[:2]
        reduction = max(1.0, max(height_px, width_px) / TISSUE_SIDE_PX)
        small = resize(mosaic.pixels, max(1, round(width_px / reduction)), max(1, round(height_px / reduction)))
        save_picture(tissue, show_tissue(small, mosaic.tissue), caption.kind)
    sheet = folder / SHEET_FILE
    close_ups = take_close_ups(source, scores)
    draw_sheet(mosaic, scores, caption, style, sheet, close_ups)
    if pdf:
        draw_sheet_pdf(mosaic, scores, caption, style, folder / SHEET_PDF, close_ups)
    else:
        (folder / SHEET_PDF).unlink(missing_ok=True)
    return sheet
