"""What a worker does for a cohort: describe a slide, classify a block of its patches, and keep both at hand."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wsi_idc._util.cache import Latest
from wsi_idc.errors import WsiIdcError
from wsi_idc.model.config import ModelConfig
from wsi_idc.model.stain import Stain
from wsi_idc.scoring.handles import SlideRef, forget_datasets
from wsi_idc.scoring.score import block_size, check_patch, classify
from wsi_idc.scoring.slide_stain import measure_stain
from wsi_idc.scoring.workers import AskedModel, open_source
from wsi_idc.source import Described, PatchSource, Problem, describe, find_patches

if TYPE_CHECKING:
    from wsi_idc.model.classifier import Classifier

_OPEN_SOURCES = 8
"""Sources that a worker keeps open."""


@dataclass(frozen=True)
class ScorerFacts:
    """What is known of the classifier of a worker."""

    config: ModelConfig
    runtime: str
    device: str
    instruction_set: str


Classified = tuple[NDArray[np.float32], tuple[Problem, ...], Stain | None]
"""Probabilities ``(n, classes)`` of a block's patches, NaN where unreadable, why they are, and the slide's stain."""

_sources: Latest[PatchSource] = Latest(_OPEN_SOURCES)
_models: Latest[Classifier] = Latest(1)
_stains: Latest[Stain | None] = Latest(4 * _OPEN_SOURCES)
_loading = Lock()
"""A worker's threads share what it has open, and one of them loads the model."""


def device_task(model: AskedModel) -> str:
    """What a worker runs the model on: ``cpu`` or ``gpu``."""
    return _loaded(model).device


def describe_task(
    ref: SlideRef, model: AskedModel, batch_size: int | None
) -> tuple[Described, ScorerFacts, Classified | None] | WsiIdcError:
    """Open a slide, and tell of it and of the classifier; with a batch size, classify its first block as well.

    Most cases are one block, and a task costs more than describing a case. An error in that block is left to the task
    that is made for it then. Why a slide cannot be scored is returned: a task that raises costs dask a fifth more, and
    a list may name thousands that are gone.
    """
    try:
        classifier = _loaded(model)
        source, first = _opened(ref, model), None
        check_patch(source, classifier.config)
        if batch_size is not None and len(find_patches(source)):
            with suppress(Exception):
                first = classify_task(ref, model, 0, block_size(batch_size, source.tile.size_px), batch_size)
        return describe(source), _facts(classifier), first
    except WsiIdcError as error:
        return error


def classify_task(ref: SlideRef, model: AskedModel, start: int, stop: int, batch_size: int) -> Classified:
    """Read and classify the patches ``start`` to ``stop - 1``."""
    source, classifier = _opened(ref, model), _loaded(model)
    # Every worker measures a slide once, and finds the same.
    stain = _stains.get((ref, model), lambda: measure_stain(source, classifier.config.normalization))
    block = source.read(start, stop)
    return classify(block, classifier, batch_size, stain), block.problems, stain


def keep_model(model: AskedModel, classifier: Classifier) -> None:
    """Have threads of this process take a model as it is loaded."""
    _models.get(model, lambda: classifier)


def forget_source(ref: SlideRef) -> None:
    """Let go of a slide that this process keeps open: until then its room on the disk is taken, deleted or not."""
    _sources.forget(ref)


def forget_sources() -> None:
    """Let go of all slides and data sets that this process keeps open."""
    _sources.clear()
    forget_datasets()


def _opened(ref: SlideRef, model: AskedModel) -> PatchSource:
    # Not closed: other threads may read it still. Files close with the last that holds them.
    return _sources.get(ref, lambda: open_source(ref, model.process))


def _loaded(model: AskedModel) -> Classifier:
    with _loading:
        return _models.get(model, model.load)


def _facts(classifier: Classifier) -> ScorerFacts:
    return ScorerFacts(classifier.config, classifier.runtime, classifier.device, classifier.instruction_set)
