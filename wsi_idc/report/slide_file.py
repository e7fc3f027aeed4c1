"""What the page loads when a slide is opened: ``report.js`` in the slide's folder.

A page that was opened from a disk may run scripts and show images from there, but may not read files.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wsi_idc._util.files import remove_unfinished, replacing_text
from wsi_idc.scoring.scores import Scores

SLIDE_FILE = "report.js"
PPM = 1_000_000
"""Probabilities are written as whole millionths, which is what ``scores.csv`` has."""


@dataclass(frozen=True)
class SlideData:
    """The patches of a slide as the page takes them.

    Attributes
    ----------
    text : str
        JSON: ``minx``, ``miny``, ``width``, ``height``, ``prob`` (millionths; null where unreadable) and ``label``
        (1, 0 or -1), a list each.
    stamp : str
        Tells whether page and slide are of the same making.
    """

    text: str
    stamp: str


def make_slide_data(scores: Scores) -> SlideData:
    """Patches and the probability that calls follow."""
    millionths = np.rint(np.nan_to_num(scores.prob, nan=-1.0) * PPM).astype(np.int64)
    columns: dict[str, list[Any]] = {
        "minx": scores.minx.tolist(),
        "miny": scores.miny.tolist(),
        "width": scores.width.tolist(),
        "height": scores.height.tolist(),
        "prob": [value if value >= 0 else None for value in millionths.tolist()],
        "label": scores.label.tolist(),
    }
    text = json.dumps(columns, separators=(",", ":"))
    return SlideData(text, hashlib.sha256(text.encode()).hexdigest()[:16])


def write_slide_file(folder: Path, url: str, data: SlideData) -> None:
    """Write ``report.js``, which hands the patches to the page under the slide's relative URL, unless it is there."""
    path, text = folder / SLIDE_FILE, f"wsiIdc.receive({json.dumps(url)},{json.dumps(data.stamp)},{data.text});\n"
    remove_unfinished(path)
    if not _holds(path, text.encode()):
        with replacing_text(path) as file:
            file.write(text)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False
