"""What every source of patches answers, whatever stands behind it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol, Self, overload

import numpy as np
from numpy.typing import NDArray

from wsi_idc.geometry import PatchSpec

SourceKind = Literal["idc", "slide", "phantom"]
MppSource = Literal["file", "option", "nominal"]

UNKNOWN = -1
"""Label of a patch without one, where labels are numbers."""


class Patch(NamedTuple):
    """One patch of a slide: its box in 0-based pixels of level 0, and its label where it is known."""

    x: int
    y: int
    width: int
    height: int
    label: int | None = None


class Patches(Sequence[Patch]):
    """Patches as one array, which costs thousands of them no more to make and to send than one.

    Parameters
    ----------
    table : ndarray of int64, shape (n, 5) or (n, 6)
        x, y, width, height and label of each, `UNKNOWN` where it has none; and, where outlines tell it, the number of
        its class among several.
    """

    def __init__(self, table: NDArray[np.int64]) -> None:
        self._table = table

    @classmethod
    def of(cls, patches: Iterable[Patch]) -> Self:
        """Take over patches one by one, or as they are."""
        if isinstance(patches, cls):
            return patches
        rows = [(*patch[:4], UNKNOWN if patch.label is None else patch.label) for patch in patches]
        return cls(np.array(rows, dtype=np.int64).reshape(-1, 5))

    @property
    def boxes(self) -> NDArray[np.int64]:
        """x, y, width and height of each, shape (n, 4)."""
        return self._table[:, :4]

    @property
    def labels(self) -> NDArray[np.int8]:
        """Label of each, `UNKNOWN` where it has none, shape (n,)."""
        return self._table[:, 4].astype(np.int8)

    @property
    def class_labels(self) -> NDArray[np.int64] | None:
        """Number of the class of each, `UNKNOWN` where it has none, shape (n,); None where nothing tells of classes."""
        return self._table[:, 5].copy() if self._table.shape[1] > 5 else None

    def __len__(self) -> int:
        return len(self._table)

    @overload
    def __getitem__(self, index: int) -> Patch: ...

    @overload
    def __getitem__(self, index: slice) -> Patches: ...

    def __getitem__(self, index: int | slice) -> Patch | Patches:
        rows = self._table[index]
        return Patches(rows) if isinstance(index, slice) else _patch(rows.tolist())

    def __iter__(self) -> Iterator[Patch]:
        return map(_patch, self._table.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Patches) and np.array_equal(self._table, other._table)


def _patch(row: list[int]) -> Patch:
    x, y, width, height, label = row[:5]
    return Patch(x, y, width, height, None if label == UNKNOWN else label)


@dataclass(frozen=True)
class ImageInfo:
    """A picture that a file holds.

    Attributes
    ----------
    name : str
        As the file says it; its number among the file's images where it says nothing.
    width_px, height_px : int
    """

    name: str
    width_px: int
    height_px: int


@dataclass(frozen=True)
class Problem:
    """Something in the data that the user should hear of: where, and what."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


@dataclass(frozen=True)
class Caution:
    """Why the results of a slide must be taken with caution.

    Attributes
    ----------
    code : str
        For tables and scripts.
    short : str
        A few words, for the sheet.
    sentence : str
        What it means.
    """

    code: str
    short: str
    sentence: str


@dataclass(frozen=True, eq=False)
class Block:
    """Pixels of consecutive patches.

    Attributes
    ----------
    pixels : ndarray of uint8, shape (n, size, size, 3)
        RGB in the size and at the scale of the source's `tile`; white right of and below patches that are smaller,
        and where a patch is unreadable.
    readable : ndarray of bool, shape (n,)
    problems : tuple of Problem
        One for each patch that is unreadable.
    """

    pixels: NDArray[np.uint8]
    readable: NDArray[np.bool_]
    problems: tuple[Problem, ...] = ()


class SlideFacts(Protocol):
    """What is known of a slide and its patches, but for the pixels."""

    @property
    def slide(self) -> str:
        """Name of the slide: for an IDC case its number."""

    @property
    def kind(self) -> SourceKind: ...

    @property
    def path(self) -> str:
        """Where the data lie."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the encoded data that the pixels come from."""

    @property
    def mpp(self) -> tuple[float, float]:
        """Scale of level 0 along x and y, in µm/px."""

    @property
    def mpp_source(self) -> MppSource: ...

    @property
    def patch(self) -> PatchSpec:
        """Size and scale of the patches: the cells of the slide's grid."""

    @property
    def tile(self) -> PatchSpec:
        """Size and scale of what `PatchSource.read` gives of each patch: larger than that where tiles overlap."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of level 0."""

    @property
    def origin_px(self) -> tuple[int, int]:
        """Where QuPath counts pixels from, in pixels of level 0: the corner of what was scanned."""

    @property
    def images(self) -> Sequence[ImageInfo]:
        """What else the file holds."""

    @property
    def details(self) -> Mapping[str, object]:
        """What beside the data decides the patches and their pixels, by name."""

    @property
    def patches(self) -> Patches:
        """In row-major order."""

    @property
    def problems(self) -> Sequence[Problem]:
        """What was odd when the source was opened."""

    @property
    def cautions(self) -> Sequence[Caution]:
        """Why its results must be taken with caution, as far as the data tell."""

    @property
    def labels_from(self) -> Mapping[str, object] | None:
        """Which outlines the labels come from, for ``run.json``; None where they come from none."""


@dataclass(frozen=True)
class Described:
    """`SlideFacts` that can be pickled."""

    slide: str
    kind: SourceKind
    path: str
    fingerprint: str
    mpp: tuple[float, float]
    mpp_source: MppSource
    patch: PatchSpec
    tile: PatchSpec
    size_px: tuple[int, int]
    origin_px: tuple[int, int]
    images: Sequence[ImageInfo]
    details: Mapping[str, object]
    patches: Patches
    problems: Sequence[Problem]
    cautions: Sequence[Caution]
    labels_from: Mapping[str, object] | None = None


def find_patches(source: SlideFacts) -> Patches:
    """The patches of a source; of a raw slide, its files are hashed while the tissue is looked for.

    A source computes both once, so who asks for its fingerprint later does not wait.
    """
    if source.kind == "idc":
        return source.patches
    with ThreadPoolExecutor(1) as pool:
        hashed = pool.submit(lambda: source.fingerprint)
        patches = source.patches
        hashed.result()
    return patches


def describe(source: SlideFacts) -> Described:
    """Collect the metadata of a slide."""
    patches = find_patches(source)
    return Described(
        source.slide,
        source.kind,
        source.path,
        source.fingerprint,
        source.mpp,
        source.mpp_source,
        source.patch,
        source.tile,
        source.size_px,
        source.origin_px,
        tuple(source.images),
        dict(source.details),
        patches,
        tuple(source.problems),
        tuple(source.cautions),
        source.labels_from,
    )


class PatchSource(SlideFacts, Protocol):
    """A slide as a grid of patches in row-major order."""

    @property
    def tissue(self) -> NDArray[np.bool_] | None:
        """Where there is tissue: a mask over the whole slide, at any scale; None where nothing looked for it."""

    def read(self, start: int, stop: int) -> Block:
        """Read the patches ``start`` to ``stop - 1``. Threads may call it."""

    def picture(self, factor: int) -> NDArray[np.uint8] | None:
        """The slide reduced by a whole factor, shape (ceil(height / factor), ceil(width / factor), 3).

        None where there are only the patches.
        """

    def close_up(self, center: tuple[float, float], side_um: float, side_px: int) -> NDArray[np.uint8] | None:
        """A square of the slide around x and y in pixels of level 0, shape (side_px, side_px, 3).

        Near an edge it is moved inwards. None where there are only the patches.
        """

    @property
    def mosaic_px(self) -> tuple[int, int]:
        """Width and height of the slide at the scale of its patches."""

    @property
    def lost(self) -> Sequence[Problem]:
        """What `region` and `picture` left out, because it cannot be read."""

    def region(self, left: int, top: int, width: int, height: int) -> NDArray[np.uint8]:
        """Part of the slide, shape (height, width, 3), in pixels at the scale of its patches. Threads may call it."""
