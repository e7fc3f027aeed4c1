"""Patches that somebody corrected, mixed into the training data."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsi_idc.datasets.labelled import LabelledPatches
from wsi_idc.model.case_stains import StainedPatches

SHARE = 0.25
"""Share of each batch that is drawn from the corrected patches."""


def mix_in(
    pixels: NDArray[np.uint8], label: NDArray[np.int8], corrected: StainedPatches | None, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.int8]]:
    """A batch of which a quarter is replaced by corrected patches, drawn with replacement.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (n, 50, 50, 3)
        Normalized.
    label : ndarray of int8, shape (n,)
    corrected : StainedPatches or None
        Without any the batch stays as it is.
    rng : Generator
    """
    if corrected is None or not len(corrected):
        return pixels, label
    count = max(round(SHARE * len(label)), 1)
    # Anywhere in the batch: only its first part is shown with the loss of JPEG.
    places = rng.choice(len(label), count, replace=False)
    rows = rng.integers(len(corrected), size=count)
    pixels, label = pixels.copy(), label.copy()
    pixels[places], label[places] = corrected.pixels(rows), corrected.patches.label[rows]
    return pixels, label


def rows_apart(
    data: LabelledPatches, rows: NDArray[np.intp], part: str, corrected: StainedPatches | None
) -> NDArray[np.intp]:
    """Rows of a part of the data without those that corrections forbid, shape (k,).

    Training rows lose the very patches that were corrected, whose labels are doubted; what tunes and tests loses the
    slides altogether.
    """
    if corrected is None:
        return rows
    if part != "train":
        return rows[~np.isin(data.case[rows], corrected.slides)]
    of = corrected.patches
    done = set(zip(of.case.tolist(), *of.position.T.tolist(), strict=True))
    places = zip(data.case[rows].tolist(), *data.position[rows].T.tolist(), strict=True)
    return rows[[place not in done for place in places]] if len(rows) else rows


def corrections_told(training: dict[str, Any], corrected: StainedPatches | None) -> dict[str, Any]:
    """What a model's ``.json`` says of its training, with the corrections; their slides count as trained on."""
    if corrected is None:
        return training
    before = training.get("corrections") or {}
    seen = dict.fromkeys([*training.get("cases_train", ()), *before.get("slides", ()), *corrected.slides])
    return {
        **training,
        "cases_train": list(seen),
        "corrections": {
            "patches": len(corrected),
            "idc": int((corrected.patches.label == 1).sum()),
            "slides": corrected.slides,
            "fingerprint": corrected.patches.fingerprint,
        },
    }
