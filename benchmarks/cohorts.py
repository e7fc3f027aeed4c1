"""Synthetic cohorts of any size, and what it takes to score one."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.in_turn import Ran
from wsi_idc.datasets.case import LoadedCase
from wsi_idc.datasets.store import write_store
from wsi_idc.phantom import as_case, case_numbers, paint_slide
from wsi_idc.source import Patch

PAINTED, CASE_PATCHES, COLUMNS = 3, 995, 40
"""Cases that are painted, patches of a case (the mean of the IDC set), and patches in a row of it."""


def write_cohorts(folder: Path, sizes: list[int]) -> dict[int, Path]:
    """Write patch stores of so many patches each: painted patches over and over, under ever new case numbers.

    Those that are there are taken as they are.
    """
    stores = {size: folder / f"{size}.zarr" for size in sizes}
    missing = {size: store for size, store in stores.items() if not store.exists()}
    if not missing:
        return stores
    painted = [as_case(paint_slide(case, seed=0)) for case in case_numbers(PAINTED)]
    pixels = np.concatenate([case.read(0, len(case.patches)).pixels for case in painted])
    labels = [patch.label for case in painted for patch in case.patches]

    def cases(patches: int) -> Iterator[LoadedCase]:
        for k, number in enumerate(case_numbers(-(-patches // CASE_PATCHES))):
            which = np.arange(k * CASE_PATCHES, min((k + 1) * CASE_PATCHES, patches)) % len(pixels)
            yield LoadedCase(
                number,
                "benchmark",
                [Patch(i % COLUMNS * 50, i // COLUMNS * 50, 50, 50, labels[j]) for i, j in enumerate(which)],
                pixels[which],
                f"{k:064x}",
            )

    for size, store in missing.items():
        write_store(store, cases(size))
    return stores


@dataclass(frozen=True)
class Pace:
    """How a run went that scored patches.

    Attributes
    ----------
    patches_s : float
        From when the first block of patches was begun to the end of the last, while the command was not stopped.
    peak_gb : float, optional
        Most memory that the process held.
    """

    patches_s: float
    peak_gb: float = math.nan

    @classmethod
    def of(cls, ran: Ran) -> Pace:
        """From the last line of what it printed."""
        told = json.loads(ran.output.splitlines()[-1])
        return cls(told["patches"] / ran.seconds(told["began"], told["ended"]), told.get("peak_gb", math.nan))


def score_all(data: Path, out: Path) -> list[str]:
    """The arguments of Python that run ``wsi-idc score all`` and tell its `Pace`."""
    return [str(Path(__file__).with_name("timed_command.py")), "score", "all", "--data", str(data), "--out", str(out)]
