"""Whether model and data can be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from wsi_idc.datasets.opening import locate_data, open_dataset
from wsi_idc.doctor.check import Check, fail, ok, warn
from wsi_idc.errors import DataNotFoundError


def model(path: str | Path | None, allow_code: bool = False) -> Iterator[Check]:
    """Whether the model loads and scores."""
    from wsi_idc.model.classifier import load_model

    classifier = load_model(path, allow_code=allow_code)
    size = classifier.config.patch.size_px
    found = classifier.predict_normalized(np.full((2, size, size, 3), 230, np.uint8))
    named = f"{classifier.config.name} {classifier.config.sha256[:8]} on {classifier.runtime}, {classifier.device}"
    wanted = 2, len(classifier.config.classes.names)
    if found.shape != wanted or not ((found >= 0) & (found <= 1)).all():
        yield fail("model", f"{named}: gives no probabilities; name another with --model.")
    else:
        yield ok("model", named)


def data(named: str | Path | None) -> Iterator[Check]:
    """Whether the data open, and a first case can be read."""
    try:
        path = locate_data(named)
    except DataNotFoundError as error:
        if named is not None:
            raise
        yield ok("data", f"none. {error}")
        return
    with open_dataset(path) as dataset:
        cases = dataset.cases
        if not cases:
            yield fail("data", f"{path} holds no case: name another with --data.")
            return
        case = dataset.case(cases[0])
        block = case.read(0, min(64, len(case.patches)))
        odd = len(dataset.problems)
    told = f"{path}: {len(cases):,} {'case' if len(cases) == 1 else 'cases'}"
    if not block.readable.any():
        yield fail(
            "data", f"{told}, but no patch of {cases[0]} can be read ({block.problems[0].reason}): fetch them again."
        )
    elif block.problems or odd:
        first = block.problems[0] if block.problems else dataset.problems[0]
        yield warn("data", f"{told}, with irregularities, the first: {first}; wsi-idc info --data lists them.")
    else:
        yield ok("data", f"{told}, the first opens")
