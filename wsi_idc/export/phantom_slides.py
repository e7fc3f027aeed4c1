"""Synthetic cases as pyramidal slides, with the tumour's outlines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from skimage import measure

from wsi_idc._util.files import make_folder, replacing_text
from wsi_idc.export.ome_tiff import write_tiff
from wsi_idc.geometry import IDC_PATCH
from wsi_idc.naming import PHANTOM_MARK
from wsi_idc.phantom import PhantomSlide, case_numbers, paint_slide
from wsi_idc.phantom.magnify import magnify

MAGNIFICATION = 8
"""Pixels of level 0 to one of the patches, along either side: 1 µm/px, as of a 10x objective."""


def write_phantom_slides(
    out: Path, cases: int, seed: int, on_block: Callable[[str, int, int], None] | None = None
) -> None:
    """Write ``<case>.tif`` and ``<case>.geojson`` of each case into a folder.

    Parameters
    ----------
    out : path
        Folder to make; files of these names in it are replaced.
    cases, seed : int
        As in `write_phantom`: the same tissue.
    on_block : callable, optional
        Called with what is written, how much of it is done, and the total.
    """
    make_folder(out)
    for case in case_numbers(cases):
        slide = paint_slide(case, seed)

        def tell(done: int, total: int, case: str = case) -> None:
            if on_block:
                on_block(f"Slide {case}", done, total)

        write_phantom_slide(slide, out / f"{case}.tif", seed, tell)
        with replacing_text(out / f"{case}.geojson") as file:
            json.dump(outline_tumour(slide.tumour), file, separators=(",", ":"))
            file.write("\n")


def write_phantom_slide(
    slide: PhantomSlide, path: Path, seed: int, on_block: Callable[[int, int], None] | None = None
) -> None:
    """Write a painted slide as a pyramidal TIFF of 1 µm/px, atomically."""
    mpp = IDC_PATCH.mpp / MAGNIFICATION
    pixels = magnify(slide.pixels, MAGNIFICATION, seed + int(slide.case))
    about = f"{PHANTOM_MARK} case {slide.case} seed {seed}: synthetic tissue"
    write_tiff(path, pixels, (mpp, mpp), description=about, on_block=on_block)


def outline_tumour(tumour: NDArray[np.bool_]) -> dict[str, Any]:
    """Outlines of a mask at the scale of the patches as GeoJSON in pixels of the slide, as QuPath would export them.

    Parameters
    ----------
    tumour : ndarray of bool, shape (h, w)
    """
    areas, count = measure.label(tumour, connectivity=1, return_num=True)  # type: ignore[no-untyped-call]
    features = []
    for area in measure.regionprops(areas) if count else ():  # type: ignore[no-untyped-call]
        top, left = area.bbox[:2]
        rings = measure.find_contours(np.pad(area.image, 1), 0.5, fully_connected="low")  # type: ignore[no-untyped-call]
        # The widest ring goes round the area, the others round its holes.
        rings.sort(key=lambda ring: float(np.ptp(ring[:, 1])), reverse=True)
        coordinates = [
            [[(x + left - 0.5) * MAGNIFICATION, (y + top - 0.5) * MAGNIFICATION] for y, x in ring.tolist()]
            for ring in rings
        ]
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": coordinates},
                "properties": {"objectType": "annotation", "classification": {"name": "Tumor", "color": [200, 0, 0]}},
            }
        )
    return {"type": "FeatureCollection", "features": features}
