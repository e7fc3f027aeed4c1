"""A case of named patches whose labels come from outlines in place of the patches' names."""

from __future__ import annotations

from collections.abc import Mapping

from wsi_idc.datasets.case import Case
from wsi_idc.slides.annotations import Annotations
from wsi_idc.source import Block, Patches, PatchSource, Problem


class RelabelledCase(Case):
    """A case with labels by outlines in pixels of its mosaic, counted from 0 as in ``scores.csv``.

    Parameters
    ----------
    case : PatchSource
        Where the pixels come from; stays open as long as this is read.
    annotations : Annotations
    """

    def __init__(self, case: PatchSource, annotations: Annotations) -> None:
        patches = Patches(annotations.table(case.patches.boxes))
        problems = [*case.problems, *(Problem(annotations.path, told) for told in annotations.warnings)]
        if annotations.miss(patches):
            problems.append(Problem(case.path, OUTSIDE))
        super().__init__(case.slide, case.path, patches, problems)
        self.labels_from: Mapping[str, object] | None = annotations.as_dict()
        self._case = case

    @property
    def fingerprint(self) -> str:
        return self._case.fingerprint

    def read(self, start: int, stop: int) -> Block:
        return self._case.read(start, stop)


OUTSIDE = "no patch lies inside the outlines of its labels: are they of this case, in pixels of its mosaic?"
