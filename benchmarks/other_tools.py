"""The same slide, weights and cores in another tool."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.rows import Scale, SkippedError
from wsi_idc.export.phantom_slides import write_phantom_slide
from wsi_idc.model.classifier import bundled_model
from wsi_idc.model.keras_network import load_keras
from wsi_idc.sources.phantom import paint_slide

WSINFER_VARIABLE = "WSINFER_PYTHON"


def wsinfer(scale: Scale) -> Sequence[float]:
    """Tiles/s of ``score slide`` over those of wsinfer: whole commands, each over the tiles that it scored."""
    command = shutil.which("wsinfer")
    python = os.environ.get(WSINFER_VARIABLE) or (command and Path(command).with_name("python"))
    if not python or not shutil.which(python):
        raise SkippedError(f"no wsinfer on the PATH, and no Python that has it in {WSINFER_VARIABLE}")
    slides, weights = scale.folder / "slides", scale.folder / "weights.npz"
    slides.mkdir()
    size_px = (1_542, 1_435) if scale.quick else (5_000, 3_750)
    write_phantom_slide(paint_slide("90001", 0, *size_px), slides / "90001.tif", seed=0)
    np.savez(weights, *load_keras(bundled_model()).get_weights())
    cores = str(os.cpu_count())
    ratios = []
    for _ in range(1 if scale.quick else 3):
        with tempfile.TemporaryDirectory(dir=scale.folder) as name:
            ours, theirs = Path(name) / "ours", Path(name) / "theirs"
            theirs.mkdir()
            files = [str(path) for path in (weights, slides, theirs)]
            script = str(Path(__file__).with_name("in_wsinfer.py"))
            other = _tiles_per_second([str(python), script, *files, cores], theirs / "model-outputs-csv" / "90001.csv")
            own = _tiles_per_second(
                [sys.executable, "-m", "wsi_idc", "score", "slide", str(slides / "90001.tif"), "--out", str(ours)],
                ours / "90001.tif" / "scores.csv",
            )
            ratios.append(own / other)
    return ratios


def tiatoolbox(scale: Scale) -> Sequence[float]:
    """Not written: TIAToolbox could not be installed where this was."""
    raise SkippedError("no workload is written for it")


def _tiles_per_second(command: list[str], table: Path) -> float:
    began = time.monotonic()
    subprocess.run(command, check=True, capture_output=True)
    seconds = time.monotonic() - began
    with table.open(newline="") as file:
        return sum(1 for _ in csv.reader(file)) / seconds
