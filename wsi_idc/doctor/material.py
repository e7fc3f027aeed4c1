"""Whether model and data can be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic

import numpy as np

from wsi_idc.datasets.opening import locate_data, open_dataset
from wsi_idc.doctor.check import Check, fail, ok, warn
from wsi_idc.errors import DataNotFoundError, SlideError
from wsi_idc.io.stores import LISTED, Store, folder_url, is_url

STORE_S = 60.0
"""How long a store may take to list and read; most answer within a second."""


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


def slides(place: str | Path) -> Iterator[Check]:
    """Whether slides are there and the first can be read; a store has `STORE_S` for it."""
    from wsi_idc.io.opening import open_reader
    from wsi_idc.slides.discovery import find_slides

    if not is_url(str(place)):
        found = find_slides(Path(place)).slides
        with open_reader(found[0].path) as reader:
            finest = reader.levels[0]
        size = f"{finest.width_px:,} x {finest.height_px:,} px"
        yield ok("slides", f"{place}: {_counted(len(found))}, the first opens, {size}")
        return
    store = Store(folder_url(str(place)))
    answer: SimpleQueue[str | Exception] = SimpleQueue()

    def ask() -> None:
        try:
            answer.put(_answer_of(store))
        except Exception as error:
            answer.put(error)

    # Not waited for when the time is up: nothing ends a request that hangs.
    Thread(target=ask, name="store", daemon=True).start()
    try:
        told = answer.get(timeout=STORE_S)
    except Empty:
        told = SlideError(
            f"{store.told} was not listed and read within {STORE_S:.0f} s: check address and network, or name a "
            "folder of fewer files."
        )
    if isinstance(told, Exception):
        raise told
    yield ok("slides", f"{store.told}: {told}")


def _answer_of(store: Store) -> str:
    """What a store lists and of which it can be read; SlideError where it cannot."""
    from wsi_idc.slides.discovery import SLIDE_ENDINGS

    if store.scheme not in LISTED:
        store.head()
        return "can be read; a web server is not listed"
    began = monotonic()
    names, _ = store.slides(SLIDE_ENDINGS)
    Store(f"{store.url}/{names[0]}").head()
    return f"{_counted(len(names))}, listed and the first read in {monotonic() - began:.1f} s"


def _counted(slides: int) -> str:
    return "1 slide" if slides == 1 else f"{slides:,} slides"
