"""The same slide, weights and cores in another tool."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import zarr

from benchmarks.rows import Scale, SkippedError
from wsi_idc.errors import ModelError
from wsi_idc.export.phantom_slides import write_phantom_slide
from wsi_idc.model.exporting import export_model
from wsi_idc.phantom import paint_slide

SLIDE, FULL_PX, QUICK_PX = "90001", (5_000, 3_750), (1_542, 1_435)
"""Width and height at 8 µm/px; level 0 is eight times as fine."""

STEADY = "without the start"
"""From opening a slide until its results are written; libraries and models are loaded, but for wsinfer's model."""

_OURS = str(Path(__file__).with_name("in_wsi_idc.py"))
_RUNS = 3


def wsinfer(scale: Scale) -> dict[str, Sequence[float]]:
    """Tiles/s of ``score slide`` over those of wsinfer."""
    return _against(scale, "wsinfer", lambda results: _rows_of(results / "model-outputs-csv" / f"{SLIDE}.csv"))


def tiatoolbox(scale: Scale) -> dict[str, Sequence[float]]:
    """Tiles/s of ``score slide`` over those of TIAToolbox."""
    return _against(
        scale,
        "tiatoolbox",
        lambda results: zarr.open_array(results / "scores" / f"{SLIDE}.zarr" / "probabilities", mode="r").shape[0],
    )


def _against(scale: Scale, tool: str, tiles: Callable[[Path], int]) -> dict[str, Sequence[float]]:
    """Each in turn, over the tiles that it scored, which `tiles` counts in the other's results."""
    variable = f"{tool.upper()}_PYTHON"
    command = shutil.which(tool)
    python = os.environ.get(variable) or (command and Path(command).with_name("python"))
    if not python or not shutil.which(python):
        raise SkippedError(f"no {tool} on the PATH, and no Python that has it in {variable}")
    try:
        model = export_model(None, scale.folder / "cancernet.pt", "torchscript")
    except ModelError as error:
        raise SkippedError(str(error)) from error
    slide = _slide(scale)
    script = str(Path(__file__).with_name(f"in_{tool}.py"))
    whole, steady = [], []
    for _ in range(1 if scale.quick else _RUNS):
        with tempfile.TemporaryDirectory(dir=scale.folder) as name:
            ours, again, theirs = (Path(name) / of for of in ("ours", "again", "theirs"))
            theirs.mkdir()
            files = [str(path) for path in (model, slide.parent, theirs)]
            other, told = _run([str(python), script, *files, str(os.cpu_count())])
            own, _ = _run([sys.executable, "-m", "wsi_idc", "score", "slide", str(slide), "--out", str(ours)])
            own_steady = float(_run([sys.executable, _OURS, str(slide), str(again)])[1])
            more = _rows_of(ours / slide.name / "scores.csv") / tiles(theirs)
            whole.append(more * other / own)
            steady.append(more * float(told) / own_steady)
    return {f"vs-{tool}": whole, STEADY: steady}


def _slide(scale: Scale) -> Path:
    """The slide that is scored, painted if it is not there yet."""
    path = scale.folder / "slides" / f"{SLIDE}.tif"
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        write_phantom_slide(paint_slide(SLIDE, 0, *(QUICK_PX if scale.quick else FULL_PX)), path, seed=0)
    return path


def _run(command: list[str]) -> tuple[float, str]:
    """Seconds of a whole command, and the last word of its output."""
    # Another Python must not find the packages of this one.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH" or command[0] == sys.executable}
    began = time.monotonic()
    ran = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    return time.monotonic() - began, (ran.stdout.split() or [""])[-1]


def _rows_of(table: Path) -> int:
    with table.open(newline="") as file:
        return sum(1 for _ in csv.DictReader(file))
