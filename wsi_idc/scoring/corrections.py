"""What a person corrected on a slide: ``corrections.geojson`` in its results folder, which QuPath may edit.

``scores.csv`` stays as it is. A correction says of one patch whether it is IDC, or is a note to a place.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc.scoring.drawn import Drawn, numbers_in, read_drawn
from wsi_idc.scoring.file_names import SCORES_FILE
from wsi_idc.scoring.qupath import (
    CORNER,
    IDC,
    IDC_RGB,
    NO_IDC,
    NO_IDC_RGB,
    classification,
    feature,
    uuid_of,
    write_features,
)
from wsi_idc.scoring.run_json import UNSOUND, read_run

CORRECTIONS_FILE = "corrections.geojson"

LEAST_SHARE = 0.5
"""Share of a patch that an outline drawn by hand must cover to correct it."""

_POINTS_AT_ONCE = 256
"""Points that are compared with all patches together: memory does not grow with their number."""


@dataclass(frozen=True)
class Correction:
    """What a person says of a patch or a place.

    Attributes
    ----------
    minx, miny, width, height : int
        Box in 0-based pixels of level 0, as in ``scores.csv``.
    is_idc : bool or None
        What the patch is; None for a note to a place.
    note : str
    who : str
    when : str
        ISO 8601, UTC.
    model_sha256 : str
        Of the model whose scores were looked at; empty where it is not known.
    """

    minx: int
    miny: int
    width: int
    height: int
    is_idc: bool | None
    note: str = ""
    who: str = ""
    when: str = ""
    model_sha256: str = ""

    @property
    def box(self) -> tuple[int, int, int, int]:
        """`minx`, `miny`, `width` and `height`."""
        return self.minx, self.miny, self.width, self.height


def write_corrections(
    folder: str | Path, corrections: Iterable[Correction], origin_px: tuple[int, int] = CORNER
) -> Path:
    """Write ``corrections.geojson`` atomically; its path comes back.

    Each correction is an unlocked annotation: of the class ``IDC`` or ``no IDC``, or without a class for a note. Notes
    are the annotations' names.

    Parameters
    ----------
    folder : path
        Results folder of the slide, which exists.
    corrections : iterable of Correction
        All that the file is to hold; what it held is replaced.
    origin_px : tuple of int
        Where QuPath counts pixels from, x and y in pixels of level 0: see `SlideFacts.origin_px`.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    OSError
        If the disk is full.
    """
    folder = Path(folder)
    path = folder / CORRECTIONS_FILE
    write_features(path, _as_features(corrections, folder.name, origin_px))
    return path


def read_corrections(folder: str | Path) -> tuple[Correction, ...]:
    """Read ``corrections.geojson``, as it was written or as QuPath saved it.

    An outline that is no longer the box of a patch corrects the patches of ``scores.csv`` that it covers by half, or
    the one that it covers most: so objects that were moved, merged or drawn by hand count, points too. Where two say
    something of one patch the later counts. Annotations of another class, or of none, are notes. Detections, tiles and
    TMA cores are left out.

    Parameters
    ----------
    folder : path
        Results folder of the slide.

    Returns
    -------
    tuple of Correction
        Empty where there is no file.

    Raises
    ------
    CorrectionsError
        Where the file is damaged, no GeoJSON or too large.
    """
    path = Path(folder) / CORRECTIONS_FILE
    try:
        drawn = read_drawn(path)
        saved = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
    except FileNotFoundError:
        return ()
    origin = next((one.origin for one in drawn if one.origin is not None), None) or _origin_of(Path(folder))
    grid = _Grid(Path(folder))
    return _latest(read for one in drawn for read in _corrections(one, origin, grid, saved))


def corrected_boxes(corrections: Iterable[Correction]) -> dict[tuple[int, int, int, int], bool]:
    """What is said of each corrected patch, by its box; notes are left out."""
    return {one.box: one.is_idc for one in corrections if one.is_idc is not None}


def _as_features(corrections: Iterable[Correction], slide: str, origin_px: tuple[int, int]) -> Iterator[dict[str, Any]]:
    written: dict[str, int] = {}
    for one in corrections:
        kind = "note" if one.is_idc is None else "correction"
        place = f"{kind} {' '.join(map(str, one.box))}"
        written[place] = written.get(place, -1) + 1
        left, top = one.minx - origin_px[0], one.miny - origin_px[1]
        right, bottom = left + one.width, top + one.height
        ring = [[right, top], [right, bottom], [left, bottom], [left, top], [right, top]]
        properties: dict[str, Any] = {"isLocked": False}
        if one.note:
            properties["name"] = one.note
        if one.is_idc is not None:
            properties["classification"] = (
                classification(IDC, IDC_RGB) if one.is_idc else classification(NO_IDC, NO_IDC_RGB)
            )
        # QuPath keeps texts by their names, and nothing outside of an object.
        properties["metadata"] = {
            "who": one.who,
            "when": one.when,
            "model_sha256": one.model_sha256,
            "box": " ".join(map(str, one.box)),
            "origin_px": f"{origin_px[0]} {origin_px[1]}",
        }
        ident = str(uuid_of(f"wsi-idc {slide} {place} {written[place]}"))
        yield feature(ident, "annotation", [ring], {}, **properties)


class _Grid:
    """Boxes of the patches of a slide, read where they are needed."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / SCORES_FILE

    @cached_property
    def boxes(self) -> NDArray[np.int64]:
        """minx, miny, width and height, shape (n, 4); none where there is no sound table."""
        with suppress(*UNSOUND), self._path.open(newline="", encoding="utf-8") as file:
            rows = [[int(row[name]) for name in ("minx", "miny", "width", "height")] for row in csv.DictReader(file)]
            return np.array(rows, dtype=np.int64).reshape(-1, 4)
        return np.empty((0, 4), dtype=np.int64)

    def covered(self, polygons: Sequence[list[NDArray[np.float64]]]) -> NDArray[np.int64]:
        """Patches that outlines cover by half, or else the one that they cover most, shape (n, 4)."""
        from wsi_idc.slides.outline_shapes import FlawError, make_area, share_inside

        areas = []
        for rings in polygons:
            with suppress(FlawError):
                areas.append(make_area(rings))
        x, y, width, height = self.boxes.T
        share = share_inside(areas, x, y, x + width, y + height)
        most = float(share.max(initial=0))
        found: NDArray[np.int64] = self.boxes[share >= min(max(most, 1e-9), LEAST_SHARE)]
        return found if most >= LEAST_SHARE else found[:1]

    def around(self, points: NDArray[np.float64]) -> NDArray[np.int64]:
        """Patches that points lie in, shape (n, 4)."""
        x, y, width, height = self.boxes.T[:, :, None]
        inside = np.zeros(len(self.boxes), dtype=np.bool_)
        for start in range(0, len(points), _POINTS_AT_ONCE):
            px, py = points[start : start + _POINTS_AT_ONCE].T
            inside |= ((x <= px) & (px < x + width) & (y <= py) & (py < y + height)).any(axis=1)
        found: NDArray[np.int64] = self.boxes[inside]
        return found


def _corrections(one: Drawn, origin: tuple[int, int], grid: _Grid, saved: str) -> Iterator[Correction]:
    """What an annotation says of patches, or of its place."""
    polygons = [[ring + origin for ring in rings] for rings in one.polygons]
    points = one.points + origin
    corners = [*(rings[0] for rings in polygons), points]
    outer = _bounds(np.concatenate(corners))
    if outer is None:
        return
    told = one.metadata
    made = Correction(
        *outer, one.is_idc, one.note, told.get("who", ""), told.get("when") or saved, told.get("model_sha256", "")
    )
    if one.is_idc is None or (numbers_in(told.get("box", ""), 4) == outer and one.is_box):
        yield made
        return
    parts = [grid.covered([rings]) for rings in polygons] + ([grid.around(points)] if len(points) else [])
    boxes = np.unique(np.concatenate(parts), axis=0).tolist()
    for box in sorted(boxes, key=lambda of: (of[1], of[0])):
        yield replace(made, minx=box[0], miny=box[1], width=box[2], height=box[3])
    if not boxes:
        yield made


def _bounds(corners: NDArray[np.float64]) -> tuple[int, int, int, int] | None:
    """Box around some points: at least a pixel wide and high."""
    if not len(corners):
        return None
    left, top = np.rint(corners.min(axis=0)).astype(int).tolist()
    right, bottom = np.rint(corners.max(axis=0)).astype(int).tolist()
    return left, top, max(right - left, 1), max(bottom - top, 1)


def _origin_of(folder: Path) -> tuple[int, int]:
    """Where QuPath counts the pixels of this slide from, as ``run.json`` says."""
    with suppress(*UNSOUND):
        x, y = read_run(folder)["source"]["origin_px"]
        return int(x), int(y)
    return CORNER


def _latest(corrections: Iterable[Correction]) -> tuple[Correction, ...]:
    """Of those that correct one patch the latest; of equal notes one."""
    kept: dict[object, Correction] = {}
    for one in corrections:
        key: object = one if one.is_idc is None else one.box
        before = kept.get(key)
        if before is None or one.when >= before.when:
            kept[key] = one
    return tuple(kept.values())
