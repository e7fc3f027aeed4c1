"""Labelled patches of many cases as the network is shown them: each normalized by the stain of its own case."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsi_idc.datasets.labelled import LabelledPatches
from wsi_idc.model.stain import Normalization, Stain, estimate_stain, even_sample, normalize


@dataclass(frozen=True)
class CaseStains:
    """The stain of every case of labelled patches.

    Attributes
    ----------
    target : Normalization or None
        None: patches are shown as they are.
    of_case : mapping of str to Stain
        Empty without a target.
    """

    target: Normalization | None
    of_case: Mapping[str, Stain]

    @classmethod
    def measure(cls, data: LabelledPatches, target: Normalization | None) -> CaseStains:
        """Measure each case on an even sample of its patches, as it is measured for scoring."""
        if target is None:
            return cls(None, {})
        stains = {}
        for case in np.unique(data.case).tolist():
            rows = np.flatnonzero(data.case == case)
            sample = np.concatenate([rows[start:stop] for start, stop in even_sample(len(rows))])
            stains[case] = estimate_stain(data.pixels[sample], target)
        return cls(target, stains)

    def pixels(self, data: LabelledPatches, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Pixels of some rows of the data, normalized, shape ``(len(rows), 50, 50, 3)``."""
        pixels = data.pixels[rows]
        if self.target is None:
            return pixels
        cases = data.case[rows]
        for case in np.unique(cases).tolist():
            of = np.flatnonzero(cases == case)
            pixels[of] = normalize(pixels[of], self.of_case[case], self.target)
        return pixels


@dataclass(frozen=True, eq=False)
class StainedPatches:
    """Labelled patches of slides whose stains are known: few patches of a slide do not tell its stain.

    Attributes
    ----------
    patches : LabelledPatches
        `case` is the name of the slide.
    stains : CaseStains
        Of each of the slides.
    """

    patches: LabelledPatches
    stains: CaseStains

    def __len__(self) -> int:
        return len(self.patches)

    @property
    def slides(self) -> list[str]:
        """Names of the slides, sorted."""
        return sorted(set(self.patches.case.tolist()))

    def pixels(self, rows: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Pixels of some rows, normalized, shape ``(len(rows), 50, 50, 3)``."""
        return self.stains.pixels(self.patches, rows)
