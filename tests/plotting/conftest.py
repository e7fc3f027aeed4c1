"""Small made-up slides, their scores and captions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_idc.geometry import IDC_PATCH, PatchSpec
from wsi_idc.plotting.caption import Caption
from wsi_idc.scoring.scores import Scores, make_scores
from wsi_idc.source import Block, Caution, ImageInfo, MppSource, Patch, Patches, Problem, SourceKind

ROSE = (200, 150, 190)


@dataclass
class MadeSource:
    """Patches of one flat colour each; a `PatchSource` that needs no files."""

    patches: Patches
    size_px: tuple[int, int]
    colours: NDArray[np.uint8]
    unreadable: frozenset[int] = frozenset()
    slide: str = "900001"
    kind: SourceKind = "idc"
    path: str = "made"
    fingerprint: str = "0" * 64
    mpp: tuple[float, float] = (8.0, 8.0)
    mpp_source: MppSource = "nominal"
    patch: PatchSpec = IDC_PATCH
    tile: PatchSpec = IDC_PATCH
    problems: Sequence[Problem] = field(default_factory=tuple)
    cautions: Sequence[Caution] = field(default_factory=tuple)
    details: Mapping[str, object] = field(default_factory=dict)
    tissue: NDArray[np.bool_] | None = None
    origin_px: tuple[int, int] = (0, 0)
    images: tuple[ImageInfo, ...] = ()
    labels_from: Mapping[str, object] | None = None

    def picture(self, factor: int) -> None:
        """There are only the patches."""

    def close_up(self, center: tuple[float, float], side_um: float, side_px: int) -> None:
        """There are only the patches."""

    def read(self, start: int, stop: int) -> Block:
        patches = self.patches[start:stop]
        pixels = np.full((len(patches), 50, 50, 3), 255, dtype=np.uint8)
        readable = np.array([i not in self.unreadable for i in range(start, start + len(patches))], dtype=bool)
        for i, patch in enumerate(patches):
            if readable[i]:
                height, width = (
                    round(side * mpp / self.patch.mpp)
                    for side, mpp in zip((patch.height, patch.width), (self.mpp[1], self.mpp[0]), strict=True)
                )
                pixels[i, :height, :width] = self.colours[start + i]
        return Block(pixels, readable)


def make_source(
    columns: int, rows: int, keep: float = 1.0, labels: str = "disc", unreadable: int = 0, **more: object
) -> MadeSource:
    """A grid whose last column and row are cut (to 42 and 30 px); `labels` is disc, none or negative."""
    random = np.random.default_rng(columns * 1000 + rows)
    size = (columns * 50 - 8, rows * 50 - 20)
    centre, radius = np.array([columns / 2, rows / 2]), max(1.0, min(columns, rows) * 0.3)
    patches = []
    for y in range(rows):
        for x in range(columns):
            if random.random() >= keep:
                continue
            inside = bool(np.hypot(*(centre - (x + 0.5, y + 0.5))) < radius)
            label = {"disc": int(inside), "none": None, "negative": 0}[labels]
            patches.append(Patch(x * 50, y * 50, min(50, size[0] - x * 50), min(50, size[1] - y * 50), label))
    colours = random.normal(ROSE, 15, (len(patches), 3)).clip(0, 255).astype(np.uint8)
    bad = frozenset(random.choice(len(patches), unreadable, replace=False).tolist())
    return MadeSource(Patches.of(patches), size, colours, bad, **more)  # type: ignore[arg-type]


def make_probs(source: MadeSource, seed: int = 0) -> NDArray[np.float64]:
    """Probabilities that follow the labels with errors; NaN where a patch is unreadable."""
    random = np.random.default_rng(seed)
    lean = np.array([4 * (patch.label or 0) - 2 for patch in source.patches])
    prob = 1 / (1 + np.exp(-lean - random.normal(0, 1.5, len(lean))))
    prob[list(source.unreadable)] = np.nan
    return prob


def score(source: MadeSource, prob: NDArray[np.float64] | None = None, threshold: float = 0.5) -> Scores:
    prob = make_probs(source) if prob is None else prob
    return make_scores(source.slide, source.patches, np.stack([1 - prob, prob], axis=1), threshold)


def caption_of(source: MadeSource, **more: object) -> Caption:
    facts: dict[str, object] = {
        "slide": source.slide,
        "kind": source.kind,
        "model_name": "CancerNet",
        "model_sha256": "3fa9c07be1d24455" * 4,
        "mpp_source": source.mpp_source,
        "version": "0.1.0",
        "date": "2026-01-31",
    }
    return Caption(**{**facts, **more})  # type: ignore[arg-type]


LONG_NAME = "a/folder/of/slides/" + "TCGA-A1-A0SB-01Z-00-DX1." * 6 + "svs"

SHAPES: dict[str, Callable[[], MadeSource]] = {
    "labels": lambda: make_source(24, 20, keep=0.8),
    "no labels": lambda: make_source(24, 20, keep=0.8, labels="none"),
    "no patches": lambda: make_source(24, 20, keep=0.0, labels="none"),
    "one class": lambda: make_source(20, 20, labels="negative"),
    "unreadable": lambda: make_source(20, 16, unreadable=9),
    "all unreadable": lambda: make_source(6, 4, labels="none", unreadable=24),
    "broad": lambda: make_source(48, 24, unreadable=4),
    "very wide": lambda: make_source(160, 6),
    "very tall": lambda: make_source(6, 160, unreadable=3),
    "tall without labels": lambda: make_source(6, 160, labels="none"),
    "ten": lambda: make_source(5, 2),
    "one patch": lambda: make_source(1, 1),
    "2,400": lambda: make_source(60, 40),
    "phantom": lambda: make_source(24, 20, keep=0.8, kind="phantom", unreadable=2),
    "long name": lambda: make_source(24, 20, labels="none", slide=LONG_NAME, kind="slide", mpp_source="file"),
    "long phantom": lambda: make_source(24, 20, slide="9" * 120, kind="phantom"),
}


@pytest.fixture(params=list(SHAPES))
def shape(request: pytest.FixtureRequest) -> MadeSource:
    """A slide of every shape that the pictures must hold for."""
    return SHAPES[request.param]()
