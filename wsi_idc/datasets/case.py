"""A case of named patches: what a folder, a zip, a patch store and a painted slide have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.cache import cached_property
from wsi_idc._util.files import Closable
from wsi_idc.geometry import IDC_PATCH, PATCH_PX
from wsi_idc.naming import PHANTOM_CASES
from wsi_idc.source import Block, Caution, ImageInfo, MppSource, Patch, Patches, Problem, SourceKind


class Case(Closable, ABC):
    """Patches of one case at the IDC set's nominal scale, in row-major order: a `PatchSource`.

    Parameters
    ----------
    slide : str
        Case number.
    path : str
        Where the data lie.
    patches : sequence of Patch
        At least one.
    problems : sequence of Problem
        What was odd when the case was opened.
    """

    patch = tile = IDC_PATCH
    mpp = (IDC_PATCH.mpp, IDC_PATCH.mpp)
    mpp_source: MppSource = "nominal"
    details: Mapping[str, object] = MappingProxyType({})
    tissue = None
    cautions: Sequence[Caution] = ()
    origin_px = (0, 0)
    images: tuple[ImageInfo, ...] = ()
    labels_from: Mapping[str, object] | None = None

    def __init__(self, slide: str, path: str, patches: Sequence[Patch], problems: Sequence[Problem] = ()) -> None:
        self.slide = slide
        self.path = path
        self.patches = Patches.of(patches)
        self.problems = tuple(problems)
        self.kind: SourceKind = "phantom" if int(slide) in PHANTOM_CASES else "idc"
        x, y, width, height = self.patches.boxes.T
        self.size_px = int((x + width).max()), int((y + height).max())

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """See `PatchSource`."""

    @abstractmethod
    def read(self, start: int, stop: int) -> Block:
        """Pixels of the patches ``start`` to ``stop - 1``: see `Block`."""

    def picture(self, factor: int) -> None:
        """There are only the patches."""

    def close_up(self, center: tuple[float, float], side_um: float, side_px: int) -> None:
        """There are only the patches."""

    @property
    def mosaic_px(self) -> tuple[int, int]:
        """Width and height at the scale of the patches."""
        return self.size_px

    @cached_property
    def lost(self) -> Sequence[Problem]:
        """What is unreadable. Reads all patches."""
        return self.read(0, len(self.patches)).problems

    def region(self, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        """Part of the mosaic, shape (height, width, 3), white where there is no readable patch."""
        pixels = np.full((height, width, 3), 255, dtype=np.uint8)
        box = self._boxes
        meets = (box[:, 0] < left + width) & (box[:, 1] < top + height) & (box[:, 2] > left) & (box[:, 3] > top)
        for i in np.flatnonzero(meets).tolist():
            block = self.read(i, i + 1)
            if block.readable[0]:
                x0, y0, x1, y1 = box[i].tolist()
                x, y = max(x0, left), max(y0, top)
                part = block.pixels[0, y - y0 : y1 - y0, x - x0 : x1 - x0][: top + height - y, : left + width - x]
                pixels[y - top : y - top + part.shape[0], x - left : x - left + part.shape[1]] = part
        return pixels

    @cached_property
    def _boxes(self) -> NDArray[np.int64]:
        """Left, top, right and bottom edge of each patch, shape (n, 4)."""
        x, y, width, height = self.patches.boxes.T
        return np.column_stack([x, y, x + width, y + height])


class LoadedCase(Case):
    """A case whose pixels are in memory.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (n, 50, 50, 3)
        See `Block`.
    fingerprint : str
    unreadable : mapping of int to Problem
        What is wrong with the patches that are unreadable, by their place in `patches`.
    slide, path, patches, problems
        As in `Case`.
    """

    def __init__(
        self,
        slide: str,
        path: str,
        patches: Sequence[Patch],
        pixels: NDArray[np.uint8],
        fingerprint: str,
        *,
        unreadable: Mapping[int, Problem] = MappingProxyType({}),
        problems: Sequence[Problem] = (),
    ) -> None:
        super().__init__(slide, path, patches, problems)
        self._pixels = pixels
        self._fingerprint = fingerprint
        self._unreadable = unreadable

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def read(self, start: int, stop: int) -> Block:
        pixels = self._pixels[start:stop]
        wrong = [i for i in range(start, start + len(pixels)) if i in self._unreadable]
        readable = np.ones(len(pixels), dtype=np.bool_)
        readable[[i - start for i in wrong]] = False
        return Block(pixels, readable, tuple(self._unreadable[i] for i in wrong))


def pad_patch(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A patch cut by the slide's edge on white, shape (50, 50, 3)."""
    full = np.full((PATCH_PX, PATCH_PX, 3), 255, dtype=np.uint8)
    full[: pixels.shape[0], : pixels.shape[1]] = pixels
    return full
