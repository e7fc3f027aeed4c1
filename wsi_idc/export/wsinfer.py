"""Results as wsinfer lays them out, so that what was written for its results goes on working.

Checked against wsinfer 0.6.1: tables in ``model-outputs-csv``, GeoJSON in ``model-outputs-geojson``, and what was run
in ``run_metadata_<timestamp>.json``.
"""

from __future__ import annotations

import csv
import os
import platform
import shlex
import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np

from wsi_idc._util.files import make_folder, replacing_text, write_json
from wsi_idc._version import __version__
from wsi_idc.export.geojson import box_ring, object_id
from wsi_idc.model.config import ModelConfig
from wsi_idc.scoring.qupath import CORNER, feature, write_features
from wsi_idc.scoring.scores import COLUMNS, DECIMALS, Scores

CSV_FOLDER, GEOJSON_FOLDER = "model-outputs-csv", "model-outputs-geojson"

_BOX = COLUMNS[:4]
"""Beside probabilities, wsinfer writes no more."""


def wsinfer_name(slide: str) -> str:
    """What the files of a slide are called, without their ending: its name on one level, never that of another slide.

    wsinfer and what reads its results look into one folder and not below, so ``a/b.svs`` becomes ``a%2Fb.svs``: as in
    a URL, which can be undone, while any sign that file names may hold could make two slides one. The ending stays:
    wsinfer drops it, and ``b.svs`` and ``b.ndpi`` then share one file.
    """
    return slide.replace("%", "%25").replace("/", "%2F")


def write_wsinfer(scores: Scores, out: Path, origin_px: tuple[int, int] = CORNER) -> tuple[Path, Path]:
    """Write the table and the GeoJSON of a slide into the folders of all, each atomically.

    Parameters
    ----------
    scores : Scores
        Unreadable patches are left out: wsinfer knows none, and its readers take an empty cell for NaN. The
        probabilities are those without context.
    out : Path
        Folder of all results; the two folders are made in it.
    origin_px : tuple of int
        Where QuPath counts pixels from, for the GeoJSON: see `SlideFacts.origin_px`.

    Returns
    -------
    tuple of Path
        ``model-outputs-csv/<name>.csv`` and ``model-outputs-geojson/<name>.geojson``, with the name of `wsinfer_name`.

    Raises
    ------
    OutputError
        If a folder cannot be made or written.
    OSError
        If the disk is full.
    """
    name = wsinfer_name(scores.slide)
    table = make_folder(out / CSV_FOLDER) / f"{name}.csv"
    geojson = make_folder(out / GEOJSON_FOLDER) / f"{name}.geojson"
    rows = np.flatnonzero(scores.readable).tolist()
    with replacing_text(table) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow((*_BOX, *scores.columns))
        for i in rows:
            box = scores.minx[i], scores.miny[i], scores.width[i], scores.height[i]
            writer.writerow((*box, *(f"{prob[i]:.{DECIMALS}f}" for prob in scores.columns.values())))
    write_features(
        geojson,
        (
            feature(
                object_id(scores, "tile", i),
                "tile",
                [box_ring(scores, i, origin_px)],
                {name: float(prob[i]) for name, prob in scores.columns.items()},
            )
            for i in rows
        ),
    )
    return table, geojson


def write_run_metadata(
    out: Path, config: ModelConfig, model: Path, command: Sequence[str], started: datetime | None = None
) -> Path:
    """Write what was run, with wsinfer's keys; null where they do not apply, as PyTorch does not.

    Parameters
    ----------
    out : Path
        Folder of all results, which is made.
    config : ModelConfig
    model : Path
        The model's file or folder.
    command : sequence of str
        What was run.
    started : datetime, optional
        Names the file; by default now.

    Returns
    -------
    Path
        ``run_metadata_<timestamp>.json``.

    Raises
    ------
    OutputError
        If the folder cannot be made or written.
    OSError
        If the disk is full.
    """
    local = (started or datetime.now()).astimezone()
    path = make_folder(out) / f"run_metadata_{local:%Y%m%dT%H%M%S}.json"
    runtime = {
        "program": "wsi-idc",
        "version": __version__,
        "working_dir": str(Path.cwd()),
        "args": shlex.join(command),
        "python_executable": sys.executable,
        "python_version": platform.python_version(),
        "in_container": None,
        "pytorch_version": None,
        "cuda_version": None,
        "git": None,
        "wsinfer_zoo_version": None,
    }
    about = {"config": config.as_dict(), "huggingface_location": None, "path": os.fspath(model.absolute())}
    write_json(path, {"model": about, "runtime": runtime, "timestamp": f"{local:%c %Z}"})
    return path
