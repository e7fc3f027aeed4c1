"""The tiles of a raw slide as a case of named patches."""

from __future__ import annotations

import hashlib
import re

import numpy as np

from wsi_idc._util.cache import cached_property
from wsi_idc.datasets.case import Case
from wsi_idc.errors import OptionError, SlideError
from wsi_idc.naming import MAX_COORDINATE_PX, PHANTOM_CASES
from wsi_idc.slides.slide import Slide
from wsi_idc.source import Block, Patches

_NUMBERS = range(100_000, 1_000_000_000)
"""Cases that are numbered by their hash: neither of the IDC set nor phantoms, and of nine digits at most."""


class SlideTiles(Case):
    """Tiles of a slide at the scale of the patches, each where the slide's own grid has it.

    Parameters
    ----------
    slide : Slide
        Stays open as long as this is read.
    case : str
        Number that the patches are named with: see `case_number`.

    Raises
    ------
    SlideError
        Where the slide has no tile with tissue, or is too large for patch names.
    """

    def __init__(self, slide: Slide, case: str) -> None:
        if not slide.patches:
            raise SlideError(
                f"No tissue was found on {slide.path}, so there is no tile to cut: try a lower --min-tissue, or "
                "--no-tissue-mask."
            )
        if max(slide.mosaic_px) > MAX_COORDINATE_PX:
            raise SlideError(f"{slide.path} is too large for patch names at its scale: give the true one with --mpp.")
        patches = Patches(np.column_stack([slide.tile_places, slide.patches.labels]))
        super().__init__(case, slide.path, patches, slide.problems)
        self._slide = slide

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over the slide's own, how it was read, and where its tiles lie."""
        places = list(map(tuple, self.patches.boxes.tolist()))
        told = f"{self._slide.fingerprint} {self._slide.mpp} {self._slide.details} {places}"
        return hashlib.sha256(told.encode()).hexdigest()

    def read(self, start: int, stop: int) -> Block:
        return self._slide.read(start, stop)


def case_number(slide: Slide, given: int | None = None) -> str:
    """The number that a slide's patches are named with.

    By default it comes from the slide's fingerprint, or of a phantom from what the file says of itself. Phantoms have
    numbers of their own, by which they are known for good; OptionError where `given` makes one pass for the other.
    """
    phantom = slide.kind == "phantom"
    first, last = PHANTOM_CASES[0], PHANTOM_CASES[-1]
    if given is not None:
        if not 1 <= given < _NUMBERS.stop:
            raise OptionError(f"{given} cannot be a case number: choose 1 to {_NUMBERS.stop - 1}.")
        if phantom != (given in PHANTOM_CASES):
            if phantom:
                raise OptionError(f"This slide is a phantom, so {given} cannot be its --case: take {first} to {last}.")
            raise OptionError(
                f"Case numbers {first} to {last} are those of phantoms: choose another --case than {given}."
            )
        return str(given)
    number = int(slide.fingerprint[:15], 16)
    if not phantom:
        return str(_NUMBERS[number % len(_NUMBERS)])
    named = re.search(r"\b(9\d{4})\b", slide.description)
    return named[1] if named and int(named[1]) in PHANTOM_CASES else str(PHANTOM_CASES[number % len(PHANTOM_CASES)])
