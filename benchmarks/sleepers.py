"""Tasks that take the time of real ones and no processor: many workers fit on one machine then."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from wsi_idc.model.classifier import find_model
from wsi_idc.phantom import as_case, paint_slide
from wsi_idc.scoring.tasks import Classified, ScorerFacts
from wsi_idc.source import Described, Patch, Patches, PatchSource, describe

COLUMNS = 100


@dataclass(frozen=True)
class Sleeper:
    """A slide that nobody opens.

    Attributes
    ----------
    name : str
    patches : int
    describe_s, patch_s : float
        Seconds of a worker to describe it, and for each of its patches.
    """

    name: str
    patches: int
    describe_s: float
    patch_s: float

    def open(self) -> AbstractContextManager[PatchSource]:
        raise NotImplementedError


@lru_cache(maxsize=1)
def _example() -> tuple[Described, ScorerFacts]:
    config = find_model()[1]
    return describe(as_case(paint_slide("90001", 0, 600, 600))), ScorerFacts(config, "none", "cpu", "none")


@lru_cache(maxsize=1)
def _grid(count: int) -> Patches:
    return Patches.of([Patch(i % COLUMNS * 50, i // COLUMNS * 50, 50, 50, None) for i in range(count)])


def describe_sleeping(ref: Sleeper, model: Any, batch_size: int | None) -> tuple[Described, ScorerFacts, None]:
    """In place of ``tasks.describe_task``."""
    example, scorer = _example()
    size = COLUMNS * 50, -(-ref.patches // COLUMNS) * 50
    time.sleep(ref.describe_s)
    return replace(example, slide=ref.name, size_px=size, patches=_grid(ref.patches), problems=()), scorer, None


def classify_sleeping(ref: Sleeper, model: Any, start: int, stop: int, batch_size: int) -> Classified:
    """In place of ``tasks.classify_task``."""
    time.sleep(ref.patch_s * (stop - start))
    called = np.random.default_rng(start).random(stop - start, dtype=np.float32)
    return np.column_stack([1 - called, called]), (), None
