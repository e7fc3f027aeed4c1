"""What the page loads when a slide is opened: ``report.js`` in the slide's folder.

A page that was opened from a disk may run scripts and show images from there, but may not read files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.files import remove_unfinished, replacing_text
from wsi_idc.errors import printable
from wsi_idc.naming import visible
from wsi_idc.report.page import script_json
from wsi_idc.scoring.corrections import Correction
from wsi_idc.scoring.file_names import PATCHES_FILE
from wsi_idc.scoring.scores import Scores

PPM = 1_000_000
"""Probabilities are written as whole millionths, which is what ``scores.csv`` has."""


@dataclass(frozen=True)
class SlideData:
    """The patches of a slide as the page takes them.

    Attributes
    ----------
    text : str
        JSON: ``minx``, ``miny``, ``width``, ``height``, ``prob`` (millionths; null where unreadable) and ``label``
        (1, 0 or -1), and where a model tells more than two classes apart ``classes`` (number of the most probable
        one; null where unreadable), a list each; ``other``, the probability that calls do not follow, where patches
        have one with their neighbours and one alone; ``corrections``, a list of `tell_correction`; and ``flaw``, why
        there are none.
    stamp : str
        Tells whether page and slide are of the same making; corrections do not change it.
    """

    text: str
    stamp: str


def make_slide_data(scores: Scores, corrections: Sequence[Correction] = (), flaw: str = "") -> SlideData:
    """Patches, the probability that calls follow, and what a person corrected, or why that cannot be read."""
    columns: dict[str, list[Any]] = {
        "minx": scores.minx.tolist(),
        "miny": scores.miny.tolist(),
        "width": scores.width.tolist(),
        "height": scores.height.tolist(),
        "prob": _millionths(scores.prob),
        "label": scores.label.tolist(),
    }
    if scores.classes.told_apart:
        columns["classes"] = [None if number < 0 else number for number in scores.most_probable.tolist()]
    stamp = hashlib.sha256(script_json(columns).encode()).hexdigest()[:16]
    other = scores.prob_idc if scores.follows_context else scores.prob_idc_context
    if other is not None:
        columns["other"] = _millionths(other)
    corrected = {"corrections": [tell_correction(one) for one in corrections], "flaw": flaw}
    return SlideData(script_json(columns | corrected), stamp)


def _millionths(prob: NDArray[np.float64]) -> list[int | None]:
    whole = np.rint(np.nan_to_num(prob, nan=-1.0) * PPM).astype(np.int64)
    return [value if value >= 0 else None for value in whole.tolist()]


def tell_correction(correction: Correction) -> dict[str, Any]:
    """A correction as the page takes it; ``isIdc`` is null for a note."""
    return {
        "box": correction.box,
        "isIdc": correction.is_idc,
        "note": printable(visible(correction.note)),
        "who": printable(visible(correction.who)),
        "when": printable(visible(correction.when)),
    }


def slide_script(url: str, data: SlideData) -> str:
    """JavaScript that hands the patches to the page under the slide's relative URL."""
    return f"wsiIdc.receive({json.dumps(url)},{json.dumps(data.stamp)},{data.text});\n"


def write_slide_file(folder: Path, url: str, data: SlideData) -> None:
    """Write ``report.js``: see `slide_script`. A file that holds the same is left as it is."""
    path, text = folder / PATCHES_FILE, slide_script(url, data)
    remove_unfinished(folder, PATCHES_FILE)
    if not _holds(path, text.encode()):
        with replacing_text(path) as file:
            file.write(text)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False
