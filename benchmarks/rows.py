"""The rows of the table: each measures two things in turn, and gives their ratio run by run."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from benchmarks.cohorts import CASE_PATCHES, Pace, score_all, write_cohorts
from benchmarks.in_turn import run_in_turn
from wsi_idc.datasets.opening import open_dataset
from wsi_idc.datasets.packing import write_patches
from wsi_idc.evaluation.bootstrap import bootstrap_intervals
from wsi_idc.export.phantom_slides import write_phantom_slide
from wsi_idc.phantom import paint_slide

FULL_SET, SMALL_SET = 277_524, 10_000
QUICK_FULL, QUICK_SMALL = 20_000, 2_000


class SkippedError(Exception):
    """A row that cannot be measured here, and why."""


@dataclass(frozen=True)
class Scale:
    """How much is measured.

    Attributes
    ----------
    quick : bool
    folder : Path
        For what is made on the way; rows share it.
    runs : int
        Times that each of the two is measured.
    """

    quick: bool
    folder: Path

    @property
    def runs(self) -> int:
        return 3 if self.quick else 5


def _seconds(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _command_seconds(*args: str) -> float:
    return _seconds(lambda: subprocess.run([sys.executable, *args], check=True, capture_output=True))


def score_all_pace(scale: Scale) -> Sequence[float]:
    """``score all`` from a store, patches/s from the first block to the last, over the network on patches in memory."""
    size = QUICK_FULL if scale.quick else 60_000
    store = write_cohorts(scale.folder, [size])[size]
    alone = [str(Path(__file__).with_name("in_memory.py")), str(store), str(size)]
    ratios = []
    for _ in range(scale.runs):
        with tempfile.TemporaryDirectory(dir=scale.folder) as out:
            ours, network = map(Pace.of, run_in_turn(score_all(store, Path(out)), alone))
        ratios.append(ours.patches_s / network.patches_s)
    return ratios


def fast_cpu(scale: Scale) -> Sequence[float]:
    """The fastest runtime on the processor over ``model.predict`` at its best batch size; outputs within 1e-4."""
    if not find_spec("openvino"):
        raise SkippedError("openvino is not installed: pip install 'wsi-idc[fast-cpu]'")
    from wsi_idc.model.classifier import bundled_model
    from wsi_idc.model.config import file_sha256
    from wsi_idc.model.keras_network import load_keras
    from wsi_idc.model.network import preprocess
    from wsi_idc.model.openvino_network import OpenVinoNetwork

    patches = np.random.default_rng(0).integers(0, 256, (2_048 if scale.quick else 4_096, 50, 50, 3), dtype=np.uint8)
    fast, network = OpenVinoNetwork(bundled_model(), file_sha256(bundled_model())), load_keras(bundled_model())
    shown = preprocess(patches)

    def plain(batch: int) -> float:
        return _seconds(lambda: network.predict(shown, batch_size=batch, verbose=0))

    best = min((64, 256, 1_024), key=lambda batch: min(plain(batch) for _ in range(3)))
    difference = np.abs(fast.predict(patches) - network.predict(shown, batch_size=best, verbose=0)).max()
    if difference > 1e-4:
        raise ValueError(f"outputs differ by {difference:.1e}")

    def ratio() -> float:
        both = [(plain(best), _seconds(lambda: fast.predict(patches))) for _ in range(5)]
        return sum(slow for slow, _ in both) / sum(quick for _, quick in both)

    return [ratio() for _ in range(scale.runs)]


def growth(scale: Scale) -> dict[str, Sequence[float]]:
    """Seconds a patch, and peak memory, of ``score all`` at the full set over a small one; and GB at the full set."""
    large, small = (QUICK_FULL, QUICK_SMALL) if scale.quick else (FULL_SET, SMALL_SET)
    stores = write_cohorts(scale.folder, [large, small])
    paces: dict[int, list[Pace]] = {large: [], small: []}
    for _ in range(3):
        for size in (small, large):
            with tempfile.TemporaryDirectory(dir=scale.folder) as out:
                paces[size] += map(Pace.of, run_in_turn(score_all(stores[size], Path(out))))
    both = list(zip(paces[large], paces[small], strict=True))
    return {
        "growth-time": [few.patches_s / many.patches_s for many, few in both],
        "growth-memory": [many.peak_gb / few.peak_gb for many, few in both],
        "GB at most": [many.peak_gb for many, _ in both],
    }


def store_read(scale: Scale) -> Sequence[float]:
    """Reading a case from its folder of PNGs over reading it from a store, files in the system's cache."""
    store = write_cohorts(scale.folder, [1_990])[1_990]
    folder = scale.folder / "pngs"
    with open_dataset(store) as packed:
        write_patches(folder, map(packed.case, packed.cases))
        case = packed.cases[0]
        with open_dataset(folder) as loose:
            loose.case(case).read(0, 10_000)
            return [
                _seconds(lambda: loose.case(case).read(0, 10_000)) / _seconds(lambda: packed.case(case).read(0, 10_000))
                for _ in range(4 * scale.runs)
            ]


def help_page(scale: Scale) -> Sequence[float]:
    """``wsi-idc --help``, which must not import TensorFlow, over importing click and rich."""
    told = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "wsi_idc", "--help"], check=True, capture_output=True, text=True
    ).stderr
    if "tensorflow" in told or "keras" in told:
        raise ValueError("--help imports TensorFlow")
    return [
        _command_seconds("-m", "wsi_idc", "--help") / _command_seconds("-c", "import click, rich")
        for _ in range(4 * scale.runs)
    ]


def start(scale: Scale) -> Sequence[float]:
    """Seconds of ``score slide`` on a slide of one tile."""
    path = scale.folder / "one-tile.tif"
    write_phantom_slide(paint_slide("90001", 0, 50, 50), path, seed=0)
    seconds = []
    for _ in range(2 * scale.runs + 1):
        with tempfile.TemporaryDirectory(dir=scale.folder) as out:
            seconds.append(_command_seconds("-m", "wsi_idc", "score", "slide", str(path), "--out", out))
    return seconds[1:]  # the first translates the model for OpenVINO, once for all


def draw(scale: Scale) -> Sequence[float]:
    """``heatmap all`` over ``score all``, whole commands on the same cases of 995 patches each."""
    cases = 20 if scale.quick else 200
    store = write_cohorts(scale.folder, [cases * CASE_PATCHES])[cases * CASE_PATCHES]

    ratios = []
    for _ in range(3 if scale.quick else 2):
        with tempfile.TemporaryDirectory(dir=scale.folder) as out:
            given = ["all", "--data", str(store), "--quiet", "--out"]
            both = [["-m", "wsi_idc", command, *given, str(Path(out, command))] for command in ("heatmap", "score")]
            drawn, scored = run_in_turn(*both)
        ratios.append(drawn.seconds() / scored.seconds())
    return ratios


def train(scale: Scale) -> Sequence[float]:
    """Patches/s of ``train`` within an epoch over ``train_on_batch`` of the same network on prepared batches."""
    store = write_cohorts(scale.folder, [10 * CASE_PATCHES])[10 * CASE_PATCHES]
    script = str(Path(__file__).with_name("training.py"))
    steps, runs = ("25", "2") if scale.quick else ("100", "3")
    command = [sys.executable, script, str(store), steps, runs]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    return [float(line) for line in ran.stdout.split()]


def bootstrap(scale: Scale) -> Sequence[float]:
    """Seconds for the intervals of all figures over 279 cases and 277,524 patches, 1,000 resamples."""
    rng = np.random.default_rng(0)
    case = np.sort(rng.integers(0, 279, FULL_SET)).astype(str)
    label = (rng.random(FULL_SET) < 0.28).astype(np.int8)
    prob = np.clip(rng.normal(0.25 + 0.4 * label, 0.2), 0, 1).round(6)
    return [_seconds(lambda: bootstrap_intervals(case, label, prob, 0.5)) for _ in range(scale.runs)]
