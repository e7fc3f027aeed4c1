"""Score one slide: every patch of a source through the classifier."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.cpu_count import processors
from wsi_idc.errors import ModelError
from wsi_idc.geometry import IDC_PATCH
from wsi_idc.model.config import DEFAULT_BATCH, ModelConfig
from wsi_idc.model.stain import Stain
from wsi_idc.scoring.scores import Scores, checked_threshold, make_scores
from wsi_idc.scoring.slide_stain import measure_stain
from wsi_idc.source import Block, PatchSource, Problem, SlideFacts

if TYPE_CHECKING:
    from wsi_idc.metrics import Metrics
    from wsi_idc.model.classifier import Classifier

BLOCK_PATCHES = 1_024
"""Patches held as pixels at a time, at least, unless they are larger than this many pixels have room for."""

_BLOCK_PX = 1 << 24


@dataclass(frozen=True, eq=False)
class Scored:
    """Scores, why patches without a probability are unreadable, and what was taken out of the slide."""

    scores: Scores
    problems: tuple[Problem, ...]
    stain: Stain | None = None

    def __repr__(self) -> str:
        return f"Scored({self.scores!r}, {len(self.problems):,} unreadable)"

    @property
    def prob_idc(self) -> NDArray[np.float64]:
        """Probability of IDC, or the model's positive class, of each patch, shape (n,); NaN where it is unreadable."""
        return self.scores.prob_idc

    @property
    def pred(self) -> NDArray[np.bool_]:
        """Which patches are called IDC, shape (n,)."""
        return self.scores.pred

    @property
    def metrics(self) -> Metrics | None:
        """Over the patches with a label and a probability; None where there are none."""
        return self.scores.metrics


def block_size(batch_size: int, patch_px: int = IDC_PATCH.size_px) -> int:
    """Patches of a block: whole batches, or fewer where patches are large."""
    room = _BLOCK_PX // patch_px**2
    if room < BLOCK_PATCHES:
        return max(min(room, max(BLOCK_PATCHES // batch_size, 1) * batch_size), 1)
    return max(BLOCK_PATCHES // batch_size, 1) * batch_size


def check_patch(source: SlideFacts, config: ModelConfig) -> None:
    """ModelError where a source's patches have another size or scale than the model takes."""
    if source.tile != config.patch:
        raise ModelError(
            f"{source.path} holds patches of {source.tile.size_px} px at {source.tile.mpp:g} µm/px, where the model "
            f"{config.name} takes {config.patch.size_px} px at {config.patch.mpp:g}: choose another --model, or score "
            "raw slides, which are cut as the model takes them."
        )


def classify(block: Block, model: Classifier, batch_size: int, stain: Stain | None) -> NDArray[np.float32]:
    """Probabilities ``(n, classes)`` of a block, NaN where unreadable; `stain` is what `measure_stain` found."""
    if block.readable.all():
        return model.predict(block.pixels, batch_size, stain=stain)
    probs = np.full((len(block.readable), len(model.config.classes.names)), np.nan, dtype=np.float32)
    probs[block.readable] = model.predict(block.pixels[block.readable], batch_size, stain=stain)
    return probs


def _read_ahead(source: PatchSource, step: int, pool: ThreadPoolExecutor) -> Iterator[tuple[int, Block]]:
    """All blocks of a source in order, each with its first patch, read by threads while earlier ones are used."""
    starts = iter(range(0, len(source.patches), step))
    reading = deque((start, pool.submit(source.read, start, start + step)) for start in islice(starts, processors()))
    while reading:
        start, block = reading.popleft()
        yield start, block.result()
        reading.extend((later, pool.submit(source.read, later, later + step)) for later in islice(starts, 1))


def score(
    source: PatchSource,
    model: Classifier,
    *,
    threshold: float | None = None,
    batch_size: int = DEFAULT_BATCH,
    on_patches: Callable[[int], None] | None = None,
) -> Scored:
    """Classify every patch of a slide.

    Parameters
    ----------
    source : PatchSource
    model : Classifier
    threshold : float, optional
        By default the model's own.
    batch_size : int
        Patches given to the network at once; it does not change what comes out.
    on_patches : callable, optional
        Called after each block with its number of patches.

    Raises
    ------
    ModelError
        Where the source's patches are not those that the model takes.

    Returns
    -------
    Scored
        Probabilities to 6 decimals, in row-major order; NaN for unreadable patches.
    """
    check_patch(source, model.config)
    chosen = checked_threshold(threshold, model.config.threshold)
    patches = source.patches
    probs = np.full((len(patches), len(model.config.classes.names)), np.nan, dtype=np.float32)
    problems: list[Problem] = []
    step = block_size(batch_size, source.tile.size_px)
    with ThreadPoolExecutor(processors()) as pool:
        try:
            stain = measure_stain(source, model.config.normalization, pool.map)
            for start, block in _read_ahead(source, step, pool):
                probs[start : start + step] = classify(block, model, batch_size, stain)
                problems += block.problems
                if on_patches:
                    on_patches(len(block.readable))
        finally:
            pool.shutdown(cancel_futures=True)
    return Scored(make_scores(source.slide, patches, probs, chosen, model.config.classes), tuple(problems), stain)
